import { expect, test } from 'vitest'
import type { Flow, TwoChannelWorld } from './two-channel-world.ts'

// Each phenomenon is tried with many seeds (SIM_SEEDS, 100 unless set; those that take long with a fifth of them);
// SIM_SEED runs one.

const seeds = process.env.SIM_SEED
  ? [Number(process.env.SIM_SEED)]
  : Array.from({ length: Number(process.env.SIM_SEEDS ?? 100) }, (_, i) => i + 1)

export function longScenario(title: string, run: (seed: number) => TwoChannelWorld): void {
  scenario(title, run, Math.ceil(seeds.length / 5))
}

/** Runs a story with each seed; a failing one prints the command that replays it. */
export function scenario(title: string, run: (seed: number) => TwoChannelWorld, count = seeds.length): void {
  test(title, { timeout: 60_000 + count * 2000 }, () => {
    for (const seed of seeds.slice(0, count)) {
      let world: TwoChannelWorld | undefined
      try {
        world = run(seed)
      } catch (error) {
        const command = `SIM_SEED=${seed} npx vitest run --project simulation -t '${title}'`
        throw new Error(`seed ${seed}; replay it with\n  ${command}`, { cause: error })
      }
      expect(world.client.closed).toBe(false)
    }
  })
}

export function check(world: TwoChannelWorld, condition: boolean, what: string): void {
  if (!condition) throw new Error(`${what}: no, at ${world.now} ms\n${world.story()}`)
}

export function checkGap(world: TwoChannelWorld, flow: Flow, since: number, mostMs: number): void {
  const { longestGapMs, gapAt } = flow.report(since, world.now)
  check(
    world,
    longestGapMs < mostMs,
    `the ${flow.from} is heard at least each ${mostMs} ms (${longestGapMs} at ${gapAt})`,
  )
}
