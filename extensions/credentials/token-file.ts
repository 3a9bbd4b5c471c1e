/**
 * A login in a JSON file of another program: read, judged, and replaced only while it still is the one that was read.
 */
import { accessSync, constants } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Token } from "../oauth/token.ts";
import {
  type Rehearsal,
  readSmallFileSync,
  rehearseWrite,
  stageFile,
  systemCode,
  writeFileAtomically,
} from "./file.ts";
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
  rehearse(): Promise<Rehearsal>;
  /** Writes `token` over whatever is there, creating the directory with `directoryMode`. */
  overwrite(token: Token, directoryMode: number): Promise<WriteOutcome>;
  rehearseOverwrite(): Promise<Rehearsal>;
}

const FILE_MODE = 0o600;
/** How often, and after how many ms, a file that may just be being written is looked at again. */
const MORE_LOOKS = 3;
const LOOK_AGAIN = 30;
/** Stands for a file that should hold the login, but is damaged: not the system's code, but one that it has. */
const DAMAGED = "EBADMSG";

/** By how many bytes a token can make a file longer: two tokens of up to 16 KB, and what is small. */
const LONGEST = 34 * 1024;
/** How often a file that changed while its successor was written is taken up anew. */
const MORE_ATTEMPTS = 3;
/** Stands for a file that never stopped changing. */
const RESTLESS = "EAGAIN";

interface Look {
  readonly found: StoredLogin;
  readonly members: Members;
  /** All that stands there, of a file that can be replaced. */
  readonly text?: string;
  /** Whether this may be the half of a file. */
  readonly torn?: boolean;
}

export function tokenFile(path: string, format: TokenFormat): TokenFile {
  async function look(): Promise<Look> {
    let seen = lookOnce();
    for (let i = 0; i < MORE_LOOKS && format.writtenInPlace && seen.torn; i++) {
      await sleep(LOOK_AGAIN);
      seen = lookOnce();
    }
    return seen;
  }

  function lookOnce(): Look {
    const nothing: Members = new Map();
    const file = readSmallFileSync(path);
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
      ? { found: format.parse(members), members, text: file.text }
      : { found: malformed("is not a JSON object"), members: nothing, torn: true };
  }

  function render(members: Members, token: Token): string {
    return format.render(format.update(members, token));
  }

  /** Why the login is not to be replaced by what `replaces` was refreshed to; undefined when it is. */
  function objection({ found }: Look, replaces: string): WriteOutcome | undefined {
    // Damage and refusal say nothing about the login: the caller keeps the token, and may try again.
    if (found.state === "unreadable") return { state: "failed", code: found.code };
    if (found.state === "malformed") return { state: "failed", code: DAMAGED };
    if (found.state === "present" && found.token.refreshToken === replaces) return undefined;
    return { state: "superseded", found };
  }

  return {
    read: async () => (await look()).found,
    async replace(replaces, token) {
      for (let attempts = 0; ; attempts++) {
        const seen = await look();
        const refused = objection(seen, replaces);
        if (refused) return refused;
        const staged = await stageFile(path, render(seen.members, token), { mode: FILE_MODE });
        if (staged.state === "failed") return staged;
        // Owners log in and out without a lock, and the disk took its time. From here on nothing else runs.
        if (lookOnce().text === seen.text) return staged.commit();
        staged.discard();
        if (attempts === MORE_ATTEMPTS) return { state: "failed", code: RESTLESS };
      }
    },
    rehearse: async () => rehearseWrite(path, LONGEST, { mode: FILE_MODE }),
    async overwrite(token, directoryMode) {
      const { members } = await look();
      return writeFileAtomically(path, render(members, token), { mode: FILE_MODE, directoryMode });
    },
    async rehearseOverwrite() {
      const rehearsed = rehearseWrite(path, LONGEST, { mode: FILE_MODE });
      return rehearsed.state === "failed" && rehearsed.code === "ENOENT"
        ? mayCreate(dirname(path))
        : rehearsed;
    },
  };
}

/** Whether a folder that is not there could be made, as far as the one above it says. */
function mayCreate(folder: string): Rehearsal {
  const above = dirname(folder);
  try {
    accessSync(above, constants.W_OK | constants.X_OK);
    return { state: "possible" };
  } catch (error) {
    const code = systemCode(error);
    return code === "ENOENT" && above !== folder ? mayCreate(above) : { state: "failed", code };
  }
}
