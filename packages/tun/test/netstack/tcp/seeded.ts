import { type Random, randomBelow, seededRandom } from '@twinbore/core/runtime'

export interface Seeded extends Random {
  /** From 0 to `bound` - 1. */
  below(bound: number): number
  pick<T>(choices: readonly T[]): T
}

/** A reproducible source with the shapes that tests need. */
export function seededRandomOf(seed: number): Seeded {
  const random = seededRandom(seed)
  const below = (bound: number): number => randomBelow(random, bound)
  return { ...random, below, pick: choices => choices[below(choices.length)]! }
}
