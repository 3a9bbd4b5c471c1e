/** What is loaded when it is first used: nothing that pi's start does not need may slow it down. */

/** pi installs a new version over the old one while other terminals still run it. */
export const NOT_LOADED = "Kimi Coder: its files were moved or changed while pi was running; start pi again.";

/** What `loading` gives; throws a sentence for the user where files of ours cannot be loaded. */
export async function mustLoad<T>(loading: Promise<T>): Promise<T> {
  try {
    return await loading;
  } catch (cause) {
    throw new Error(NOT_LOADED, { cause });
  }
}

export interface Lazy<T> {
  /** Loads it, or gives what is loaded. Rejects where its files cannot be loaded; the next call tries again. */
  readonly load: () => Promise<T>;
  /** What is there already. */
  readonly loaded: () => T | undefined;
  /** Resolves with what has been begun to load; with undefined where nothing was, or it failed. */
  readonly settled: () => Promise<T | undefined>;
}

export function lazy<T>(begin: () => Promise<T>): Lazy<T> {
  let loading: Promise<T> | undefined;
  let value: T | undefined;
  const load = () => {
    loading ??= begin().then(
      (loaded) => {
        value = loaded;
        return loaded;
      },
      (error: unknown) => {
        loading = undefined;
        throw error;
      },
    );
    return loading;
  };
  return { load, loaded: () => value, settled: async () => loading?.catch(() => undefined) };
}

let last: Promise<unknown> = Promise.resolve();

/**
 * Loads one module after the other. A module that is asked for while another import is still loading it may be handed
 * out half-made (in pi's executable, and by jiti while its cache is empty): what it exports is undefined at first use.
 */
export function inTurn<T>(load: () => Promise<T>): Promise<T> {
  const own = last.then(load);
  last = own.catch(() => {});
  return own;
}
