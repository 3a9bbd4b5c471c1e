/** What is loaded when it is first used: nothing that pi's start does not need may slow it down. */

/** pi installs a new version over the old one while other terminals still run it. */
export const NOT_LOADED = "Kimi Coder: its files were moved or changed while pi was running; start pi again.";

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
