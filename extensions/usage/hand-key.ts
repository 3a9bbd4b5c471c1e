/** The key given to pi by hand for our provider, which only pi knows: `--api-key`, or an entry in auth.json. */
import type { ExtensionContext } from "@mariozechner/pi-coding-agent";
import { API_KEY_VARIABLE, PROVIDER } from "../configuration.ts";
import type { Choice } from "../credentials/selection.ts";

/** Undefined where a login or a configured key is used; never throws. `keyArgument`: pi was started with `--api-key`. */
export async function handKey(
  { model, modelRegistry }: Pick<ExtensionContext, "model" | "modelRegistry">,
  keyArgument: boolean,
  look: () => Promise<Choice>,
): Promise<string | undefined> {
  try {
    if (!(keyArgument && model?.provider === PROVIDER)) {
      const choice = await look();
      if (choice.state !== "none" || choice.reason.kind !== "own-key") return undefined;
    }
    const key = await modelRegistry.getApiKeyForProvider(PROVIDER);
    return key === "" || key === API_KEY_VARIABLE ? undefined : key;
  } catch {
    // The session was replaced meanwhile.
    return undefined;
  }
}
