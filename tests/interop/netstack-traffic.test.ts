// Real transfers between the kernel's TCP and ours, as gateway and as client, over good and bad links. A TUN in a namespace
// joins them; our end makes the link bad. NETSTACK_SEED chooses what is lost.
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { LabProcess } from '../lab/lab-process.ts'
import { needs } from '../lab/needs.ts'
import { contentHash } from '../lab/netstack-behaviours.ts'
import type { NetstackNamespace } from '../lab/netstack-namespace.ts'
import { families, order, patientNamespace, speed, startEnds } from '../lab/netstack-orders.ts'

const seed = Number(process.env.NETSTACK_SEED ?? Date.now() % 2 ** 31)

needs(
  'root',
  'tun',
  'ip',
  'socat',
)(`the userspace stack and the kernel's TCP (NETSTACK_SEED=${seed})`, () => {
  let namespace: NetstackNamespace
  let kernel: LabProcess
  let stack: LabProcess

  beforeEach(async () => {
    namespace = await patientNamespace()
  })
  afterEach(() => namespace.close())

  const start = async (mode: 'gateway' | 'client', conditions: object = {}): Promise<void> => {
    ;({ stack, kernel } = await startEnds(namespace, mode, seed, conditions))
  }

  describe.each([
    ['connections of the kernel that ours accepts', 'gateway'],
    ['connections that ours opens to the kernel', 'client'],
  ] as const)('%s', (_, mode) => {
    const ends = () => (mode === 'gateway' ? { client: kernel, server: stack } : { client: stack, server: kernel })
    const addressOf = (one: (typeof families)[number]): string => (mode === 'gateway' ? one.far : one.kernelAddress)

    describe.each(families.map(one => [one.family, one] as const))('%s', (_, one) => {
      test('20 MB each way, half-closed by either side, with equal SHA-256', async () => {
        await start(mode)
        const bytes = 20_000_000
        const expected = { bytes, sha256: contentHash(bytes) }
        const up = await order(ends().client, { what: 'upload', address: addressOf(one), port: 7001, bytes })
        expect(up).toMatchObject(expected)
        const down = await order(ends().client, { what: 'download', address: addressOf(one), port: 7002, bytes })
        expect(down).toMatchObject(expected)
        // The server had ended its half, and got everything that came after that.
        const served = await ends().server.waitFor(/"served":(\{.*?\})/)
        expect(JSON.parse(served[1]!)).toEqual(expected)
        console.log(`${mode} ${one.family}: up ${speed(up)}, down ${speed(down)}`)
      })

      test('a reset is a reset and an end is an end, each way', async () => {
        await start(mode)
        const address = addressOf(one)
        if (mode === 'gateway') {
          // Node may take a RST for an end; socat reads as it is.
          const target = `TCP:${one.family === 'IPv6' ? `[${address}]` : address}`
          for (let i = 0; i < 20; i++) {
            const cut = await run(namespace, `socat -d -t 60 - ${target}:7004 < /dev/null > /dev/null`)
            expect(cut.output).toMatch(/Connection reset by peer/)
            const whole = await run(namespace, `echo 20000 | socat -d -t 60 - ${target}:7002 | wc -c`)
            expect(whole.stdout.trim()).toBe('20000')
            expect(whole.output).not.toMatch(/reset/)
          }
          const answer = await order(kernel, { what: 'abort', address, port: 7005, bytes: 100_000 })
          expect(answer).toEqual({ aborted: true })
          await stack.waitFor(/"watched":"reset"/)
        } else {
          for (let i = 0; i < 20; i++) {
            expect(await order(stack, { what: 'expect-reset', address, port: 7004 })).toEqual({
              outcome: 'reset: peer',
            })
          }
          const listen = one.family === 'IPv6' ? 'TCP6-LISTEN' : 'TCP4-LISTEN'
          const listener = new LabProcess('socat', ['-d', '-d', '-u', `${listen}:7105`, 'OPEN:/dev/null'], {
            namespace: namespace.name,
          })
          try {
            await listener.waitFor(/listening on/)
            await order(stack, { what: 'abort', address, port: 7105, bytes: 100_000 })
            await listener.waitFor(/Connection reset by peer/)
          } finally {
            await listener.stop('SIGKILL')
          }
        }
        const { mark } = ends().server
        await order(ends().client, { what: 'upload', address, port: 7001, bytes: 1000 })
        expect(ends().server.output.slice(mark)).not.toMatch(/reset|failed/)
      })

      test('a reader that stops closes the window, and everything comes when it goes on', async () => {
        await start(mode)
        const bytes = 10_000_000
        const uploaded = order(ends().client, { what: 'upload', address: addressOf(one), port: 7003, bytes })
        await stack.waitFor(new RegExp(`"zeroWindow":"${mode === 'gateway' ? 'far end' : 'device'}"`))
        // Others are not held up meanwhile.
        const other = await order(ends().client, {
          what: 'upload',
          address: addressOf(one),
          port: 7001,
          bytes: 2_000_000,
        })
        expect(other).toMatchObject({ bytes: 2_000_000, sha256: contentHash(2_000_000) })
        await order(ends().server, { what: 'resume' })
        expect(await uploaded).toMatchObject({ bytes, sha256: contentHash(bytes) })
      })

      test('400 short connections, 20 at a time', async () => {
        await start(mode)
        const address = addressOf(one)
        const answer = await order(ends().client, { what: 'many', address, port: 7007, bytes: 3000, count: 400 })
        expect(answer).toEqual({ good: 400 })
      })
    })

    test.each([
      ['loss of 1 %', 1_000_000, { loss: 0.01, latencyMs: 2 }],
      ['loss of 5 %', 400_000, { loss: 0.05, latencyMs: 2 }],
      ['loss of 20 %', 60_000, { loss: 0.2, latencyMs: 2 }],
      ['reordering', 1_000_000, { reorder: 0.25, reorderMs: 10, latencyMs: 2, jitterMs: 2 }],
      ['duplicates', 2_000_000, { duplicate: 0.1, reorder: 0.05, reorderMs: 5, latencyMs: 1 }],
      ['corruption', 1_000_000, { corrupt: 0.02, latencyMs: 1 }],
      [
        'all of it, over a narrow link',
        250_000,
        { loss: 0.02, duplicate: 0.02, corrupt: 0.01, reorder: 0.05, latencyMs: 5, rateBps: 20_000_000 },
      ],
    ])(
      'every byte arrives in spite of %s',
      async (_, bytes, conditions) => {
        await start(mode, conditions)
        const expected = { bytes, sha256: contentHash(bytes) }
        // At once: timeouts that double make single transfers long when much is lost.
        const answers = families.flatMap(one => {
          const target = { address: addressOf(one), bytes }
          return [
            order(ends().client, { ...target, what: 'upload', port: 7001 }),
            order(ends().client, { ...target, what: 'download', port: 7002 }),
          ]
        })
        for (const answer of await Promise.all(answers)) expect(answer).toMatchObject(expected)
      },
      600_000,
    )
  })
})

async function run(
  namespace: NetstackNamespace,
  command: string,
): Promise<{ readonly output: string; readonly stdout: string }> {
  return new LabProcess('sh', ['-c', command], { namespace: namespace.name }).finished
}
