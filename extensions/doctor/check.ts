/**
 * What a check of the doctor says. All of it may be pasted into an issue, so its sentences are made of words that stand
 * in this folder, of numbers, and of paths as `places.ts` names them: nothing that stands in a file, in a variable or
 * in a server's answer gets in here.
 */

export interface Check {
  /** What was looked at. */
  readonly name: string;
  /** "none": there is nothing to check, or no way to. */
  readonly state: "ok" | "bad" | "none";
  readonly says: string;
  /** What to do; of everything that is bad. */
  readonly fix?: string;
}

export function ok(name: string, says: string): Check {
  return { name, state: "ok", says };
}

export function bad(name: string, says: string, fix: string): Check {
  return { name, state: "bad", says, fix };
}

export function none(name: string, says: string): Check {
  return { name, state: "none", says };
}

const CODES: ReadonlySet<string> = new Set([
  ...[
    "EACCES",
    "EPERM",
    "EISDIR",
    "ENOTDIR",
    "EFTYPE",
    "ELOOP",
    "ENOENT",
    "EIO",
    "EROFS",
    "EMFILE",
    "ENFILE",
  ],
  ...["ENOTFOUND", "EAI_AGAIN", "EAI_FAIL", "EAI_NODATA", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT"],
  ...[
    "EHOSTUNREACH",
    "ENETUNREACH",
    "EADDRNOTAVAIL",
    "EPIPE",
    "EPROTO",
    "ENOTSUP",
    "UND_ERR_CONNECT_TIMEOUT",
  ],
  ...["UND_ERR_SOCKET", "UND_ERR_HEADERS_TIMEOUT", "UND_ERR_ABORTED", "HPE_INVALID_CONSTANT"],
  ...["CERT_HAS_EXPIRED", "CERT_NOT_YET_VALID", "DEPTH_ZERO_SELF_SIGNED_CERT", "SELF_SIGNED_CERT_IN_CHAIN"],
  ...["UNABLE_TO_VERIFY_LEAF_SIGNATURE", "UNABLE_TO_GET_ISSUER_CERT", "UNABLE_TO_GET_ISSUER_CERT_LOCALLY"],
  ...["ERR_TLS_CERT_ALTNAME_INVALID", "ERR_SSL_WRONG_VERSION_NUMBER", "ERR_SSL_PACKET_LENGTH_TOO_LONG"],
  ...["ERR_SSL_UNSUPPORTED_PROTOCOL", "ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION"],
]);

/** The system's or Node's name for what went wrong, if it is one of theirs. */
export function knownCode(code: string): string {
  return CODES.has(code) ? code : "an error of another kind";
}
