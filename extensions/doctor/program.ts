/** The programs themselves: their versions, the libraries, the variables. */
import { createRequire } from "node:module";
import { isAtLeast } from "../commands/thinking.ts";
import type { Configuration } from "../configuration.ts";
import type { Versions } from "../identity.ts";
import { bad, type Check, ok } from "./check.ts";

/** What package.json asks for. */
const OLDEST_NODE = [20, 17];
/** The oldest that the sweep found working, see "Versions of pi" in README.md. */
const OLDEST_PI = [0, 51, 0];

export function checkVersions({ pi }: Versions, node: string): readonly Check[] {
  const plain = /^v?(\d+\.\d+\.\d+)/.exec(node)?.[1];
  const piVersion = /^\d+\.\d+\.\d+/.exec(pi)?.[0];
  return [
    isAtLeast(plain ?? "", OLDEST_NODE)
      ? ok("Node", `${plain}`)
      : bad("Node", `${plain ?? "a version without a number"} is too old`, "use Node 20.17 or newer"),
    isAtLeast(piVersion ?? "", OLDEST_PI)
      ? ok("pi", `${piVersion}`)
      : bad(
          "pi",
          `${piVersion ?? "a version without a number"} is not supported`,
          `update pi to ${OLDEST_PI.join(".")} or newer`,
        ),
  ];
}

/** pi uses a local folder in place and never installs its libraries. `find` throws for one that is not there. */
export function checkLibraries(
  find: (name: string) => unknown = createRequire(import.meta.url).resolve,
): Check {
  const name = "Libraries";
  const missing = ["proper-lockfile"].filter((library) => {
    try {
      find(library);
      return false;
    } catch {
      return true;
    }
  });
  return missing.length === 0
    ? ok(name, "installed")
    : bad(name, `${missing.join(" and ")} not installed`, "run npm install in the folder of pi-kimi-coder");
}

const VARIABLES = [
  ...["KIMI_CODE_OAUTH_HOST", "KIMI_OAUTH_HOST", "KIMI_CODE_BASE_URL"],
  ...["KIMI_CODER_REGION", "KIMI_CODER_IDENTITY", "KIMI_CODER_PARALLEL", "KIMI_CODER_FOOTER"],
  ...["HOME", "KIMI_SHARE_DIR", "KIMI_CODE_HOME", "XDG_DATA_HOME", "PI_CODING_AGENT_DIR"],
];

/** What is set to something unusable is refused, and then nothing is sent anywhere. */
export function checkVariables({ refusal }: Pick<Configuration, "refusal">): Check {
  const name = "Configuration variables";
  if (refusal === undefined) return ok(name, "none is refused");
  const refused = VARIABLES.filter((variable) => new RegExp(`\\b${variable}\\b`).test(refusal));
  const which = refused.length === 0 ? "one" : refused.join(" and ");
  return bad(
    name,
    `${which} cannot be understood, and nothing is sent`,
    "correct or unset it and start pi again",
  );
}
