// What our TCP reaches on a lossy link, beside two kernels on a link like it. NETSTACK_SEED chooses what is lost.
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { LabProcess } from '../lab/lab-process.ts'
import { needs } from '../lab/needs.ts'
import { contentHash, type Order } from '../lab/netstack-behaviours.ts'
import { NetstackNamespace } from '../lab/netstack-namespace.ts'
import {
  type Answer,
  cubic,
  endProgram,
  families,
  order,
  patientNamespace,
  speed,
  startEnds,
} from '../lab/netstack-orders.ts'

const seed = Number(process.env.NETSTACK_SEED ?? Date.now() % 2 ** 31)

/** A link on which 1 % is lost, with enough delay that recovery and congestion control decide. */
const measured = { loss: 0.01, latencyMs: 10 }

needs(
  'root',
  'tun',
  'ip',
)(`the userspace stack beside the kernel's TCP (NETSTACK_SEED=${seed})`, () => {
  let namespace: NetstackNamespace

  beforeEach(async () => {
    namespace = await patientNamespace()
  })
  afterEach(() => namespace.close())

  // What one transfer reaches depends on which packets are lost: its time varies by a third. Means of 48 differ by 7 %.
  test('goodput at a loss of 1 % is four fifths of what two kernels reach at the same time, or more', async () => {
    const bytes = 2_000_000
    const { kernel } = await startEnds(namespace, 'gateway', seed, measured)
    const kernels = await NetstackNamespace.create()
    const far = await NetstackNamespace.create()
    try {
      await kernels.start(endProgram, 'link', String(seed), JSON.stringify(measured))
      await kernels.ip('link', 'set', 'link1', 'netns', far.name)
      await kernels.ip('addr', 'add', '10.89.0.1/24', 'dev', 'link0')
      await far.ip('addr', 'add', '10.89.0.2/24', 'dev', 'link1')
      await far.ip('link', 'set', 'link1', 'up', 'mtu', '1400')
      for (const [one, device] of [
        [kernels, 'link0'],
        [far, 'link1'],
      ] as const) {
        await one.ip('route', 'replace', '10.89.0.0/24', 'dev', device, ...cubic)
      }
      await far.start(endProgram, 'kernel')
      const other = await kernels.start(endProgram, 'kernel')

      const measure = async (what: Order['what'], port: number): Promise<[ours: Answer, theirs: Answer]> => {
        const ours: Answer[] = []
        const theirs: Answer[] = []
        for (let wave = 0; wave < 4; wave++) {
          // At the same time, so that a busy machine slows both.
          const [some, others] = await Promise.all([
            several(kernel, { what, address: families[0]!.far, port, bytes }),
            several(other, { what, address: '10.89.0.2', port, bytes }),
          ])
          ours.push(...some)
          theirs.push(...others)
        }
        const expected = { bytes, sha256: contentHash(bytes) }
        for (const answer of [...ours, ...theirs]) expect(answer).toMatchObject(expected)
        return [total(ours), total(theirs)]
      }
      const [up, kernelUp] = await measure('upload', 7001)
      const [down, kernelDown] = await measure('download', 7002)
      const receiving = kernelUp.seconds / up.seconds
      const sending = kernelDown.seconds / down.seconds
      console.log(
        `1 % loss, 20 ms round trip, CUBIC, mean of 48: kernel to ours ${speed(up)}, ours to kernel ${speed(down)}; ` +
          `kernel to kernel ${speed(kernelUp)} and ${speed(kernelDown)}; ` +
          `ratio ${(100 * receiving).toFixed(0)} % receiving, ${(100 * sending).toFixed(0)} % sending`,
      )
      expect(receiving).toBeGreaterThanOrEqual(0.8)
      expect(sending).toBeGreaterThanOrEqual(0.8)
    } finally {
      await kernels.close()
      await far.close()
    }
  }, 300_000)
})

/** Twelve transfers at once. */
function several(to: LabProcess, what: Partial<Order>): Promise<Answer[]> {
  return Promise.all(Array.from({ length: 12 }, () => order(to, what)))
}

function total(answers: readonly Answer[]): Answer {
  return {
    bytes: answers.reduce((sum, { bytes }) => sum + bytes, 0),
    seconds: answers.reduce((sum, { seconds }) => sum + seconds, 0),
  }
}
