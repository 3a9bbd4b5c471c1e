/**
 * A login in a JSON file of another program: read, judged, and replaced only while it still is the one that was read.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Token } from "../oauth/token.ts";
import { readSmallFile, type WriteOptions, writeFileAtomically } from "./file.ts";
import { type Members, parseMembers } from "./json.ts";
import type { StoredLogin, WriteOutcome } from "./store.ts";
import { malformed } from "./stored-token.ts";

/** How a program keeps its login in the members of a JSON object. */
export interface TokenFormat {
  readonly parse: (members: Members) => StoredLogin;
  /** The members with the token in them; everything else stays as it was. */
  readonly update: (members: Members, token: Token) => Members;
  /** The file's text, as the program itself writes it. */
  readonly render: (members: Members) => string;
  /** Whether the program overwrites its file in place, so that a reader may find half of it for a moment. */
  readonly writtenInPlace?: boolean;
}

export interface TokenFile {
  read(): Promise<StoredLogin>;
  replace(replaces: string, token: Token): Promise<WriteOutcome>;
  /** Writes `token` over whatever is there, creating the directory with `directoryMode`. */
  overwrite(token: Token, directoryMode: number): Promise<WriteOutcome>;
}

const FILE_MODE = 0o600;
/** How often, and after how many ms, a file that may just be being written is looked at again. */
const MORE_LOOKS = 3;
const LOOK_AGAIN = 30;
/** Stands for a file that should hold the login, but is damaged: not the system's code, but one that it has. */
const DAMAGED = "EBADMSG";

interface Look {
  readonly found: StoredLogin;
  readonly members: Members;
  /** Whether this may be the half of a file. */
  readonly torn?: boolean;
}

export function tokenFile(path: string, format: TokenFormat): TokenFile {
  async function look(): Promise<Look> {
    let seen = await lookOnce();
    for (let i = 0; i < MORE_LOOKS && format.writtenInPlace && seen.torn; i++) {
      await sleep(LOOK_AGAIN);
      seen = await lookOnce();
    }
    return seen;
  }

  async function lookOnce(): Promise<Look> {
    const nothing: Members = new Map();
    const file = await readSmallFile(path);
    switch (file.state) {
      case "absent":
      case "unreadable":
        return { found: file, members: nothing };
      case "too-large":
        return { found: malformed("is far too large"), members: nothing };
      case "not-text":
        return { found: malformed("is not text"), members: nothing };
    }
    if (file.text.trim() === "") return { found: malformed("is empty"), members: nothing, torn: true };
    const members = parseMembers(file.text);
    return members
      ? { found: format.parse(members), members }
      : { found: malformed("is not a JSON object"), members: nothing, torn: true };
  }

  function write(members: Members, token: Token, options: WriteOptions): Promise<WriteOutcome> {
    return writeFileAtomically(path, format.render(format.update(members, token)), options);
  }

  return {
    read: async () => (await look()).found,
    async replace(replaces, token) {
      const { found, members } = await look();
      // Damage and refusal say nothing about the login: the caller keeps the token, and may try again.
      if (found.state === "unreadable") return { state: "failed", code: found.code };
      if (found.state === "malformed") return { state: "failed", code: DAMAGED };
      if (found.state !== "present" || found.token.refreshToken !== replaces) {
        return { state: "superseded", found };
      }
      return write(members, token, { mode: FILE_MODE });
    },
    async overwrite(token, directoryMode) {
      const { members } = await look();
      return write(members, token, { mode: FILE_MODE, directoryMode });
    },
  };
}
