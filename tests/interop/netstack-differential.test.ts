// The same conversations with the kernel's TCP and with ours: equal in what is acknowledged, in SACK blocks, in the
// timestamps that come back, in what is challenged, reset or ignored. `tests/lab/netstack-agreement.ts` lists where they
// may differ, and why.
//
//   DIFF_SEEDS=5000 npx vitest run --project interop tests/interop/netstack-differential.test.ts
//   DIFF_SEED=1670 npx vitest run --project interop tests/interop/netstack-differential.test.ts    one of them again
import { afterEach, beforeEach, expect, test } from 'vitest'
import { needs } from '../lab/needs.ts'
import { NetstackNamespace } from '../lab/netstack-namespace.ts'

const only = process.env.DIFF_SEED
const seeds = only ? 1 : Number(process.env.DIFF_SEEDS ?? 400)
const first = only ? Number(only) : 1 + (process.env.DIFF_FROM ? Number(process.env.DIFF_FROM) : Date.now() % 1_000_000)
const script = new URL('../lab/netstack-differential.ts', import.meta.url)
const replay = (seed: number): string =>
  `DIFF_SEED=${seed} npx vitest run --project interop tests/interop/netstack-differential.test.ts`

interface Report {
  readonly seed?: number
  readonly trace?: string
  readonly done?: {
    readonly seeds: number
    readonly steps: number
    readonly failures: readonly number[]
    readonly allowed: Readonly<Record<string, number>>
  }
}

needs(
  'root',
  'tun',
  'ip',
)("our TCP and the kernel's", () => {
  let namespace: NetstackNamespace

  beforeEach(async () => {
    namespace = await NetstackNamespace.create({
      // Answers are neither rationed nor gathered: each segment gets its own.
      'net.ipv4.tcp_invalid_ratelimit': 0,
      'net.ipv4.tcp_comp_sack_nr': 0,
      'net.ipv4.tcp_syncookies': 0,
    })
  })
  afterEach(() => namespace.close())

  test(
    `answer alike over ${seeds} conversations from seed ${first}`,
    async () => {
      const child = await namespace.start(script, 'diff0', String(first), String(seeds))
      await namespace.route('diff0', '10.77.0.0/16', 'fd77::/64', 'quickack', '1', 'congctl', 'cubic')
      child.write('go\n')
      const timeoutMs = 60_000 + 100 * seeds
      await child.waitFor(/"done".*\n/, { timeoutMs, stdoutOnly: true })
      const reports = child.stdout.split('\n').flatMap(line => (line ? [JSON.parse(line) as Report] : []))
      for (const { seed, trace } of reports) if (seed !== undefined) console.log(`${replay(seed)}\n${trace}`)
      const { done } = reports.at(-1)!
      console.log(`${done!.seeds} conversations, ${done!.steps} answers compared`, done!.allowed)
      expect(done!.failures.map(replay)).toEqual([])
      expect(done!.steps).toBeGreaterThan(10 * seeds)
    },
    120_000 + 100 * seeds,
  )
})
