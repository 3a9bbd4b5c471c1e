/** Samples of interleaved runs, and what can be said of them: medians, differences and ratios with their uncertainty. */

/** A number and its standard error. */
export interface Estimate {
  readonly value: number;
  readonly error: number;
}

/**
 * Runs every task once to warm it up unless told otherwise, then `runs` times in turn. Each round begins with another task, so that none of
 * them always follows the same one.
 */
export async function interleave<Name extends string, Sample>(
  tasks: Readonly<Record<Name, () => Promise<Sample>>>,
  runs: number,
  warmUp = true,
): Promise<(name: Name) => readonly Sample[]> {
  const entries = Object.entries<() => Promise<Sample>>(tasks);
  const samples = new Map<string, Sample[]>();
  for (let round = warmUp ? -1 : 0; round < runs; round++) {
    const shift = Math.max(0, round) % entries.length;
    for (const [name, task] of [...entries.slice(shift), ...entries.slice(0, shift)]) {
      const sample = await task();
      if (round >= 0) samples.set(name, [...(samples.get(name) ?? []), sample]);
    }
  }
  return (name) => samples.get(name) ?? [];
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

/** The median; its error from the median absolute deviation, as for samples of a normal distribution. */
export function estimate(values: readonly number[]): Estimate {
  const value = median(values);
  const spread = 1.4826 * median(values.map((one) => Math.abs(one - value)));
  return { value, error: (1.2533 * spread) / Math.sqrt(values.length) };
}

/** The median of the differences of runs of the same round: what slows a whole round down does not count. */
export function difference(values: readonly number[], others: readonly number[]): Estimate {
  return estimate(values.map((one, round) => one - (others[round] ?? Number.NaN)));
}
