// The kernel's TCP and UDP through two TUNs and the offload functions, with each piece of the offload off in turn.
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { LabProcess, mustRun } from '../../../../tests/lab/lab-process.ts'
import { needs } from '../../../../tests/lab/needs.ts'
import type { PacketDeviceStats } from '../../src/index.ts'
import { tunSupport } from '../../src/io/index.ts'
import type { BridgeOptions } from './offload-bridge.ts'

const here = `offn-${process.pid}`
const there = `offf-${process.pid}`
const bridgeScript = fileURLToPath(new URL('./offload-bridge.ts', import.meta.url))
const datagramScript = fileURLToPath(new URL('./offload-datagrams.ts', import.meta.url))
const adoptingScript = fileURLToPath(new URL('./adopted-tun.ts', import.meta.url))
const transfer = fileURLToPath(new URL('../../../../tests/lab/transfer.mjs', import.meta.url))
const typescript = ['--import', 'tsx', '--conditions=@twinbore/source']
const megabytes = 1_000_000

const ip = (namespace: string, ...words: string[]): Promise<string> => mustRun('ip', ['-n', namespace, ...words])

/** The process with both TUNs, one of them moved to the other namespace. */
class Bridge {
  readonly process: LabProcess

  constructor(options: BridgeOptions) {
    const args = [...typescript, bridgeScript, JSON.stringify(options)]
    this.process = new LabProcess(process.execPath, args, { namespace: here, input: '', keepInputOpen: true })
  }

  async up(): Promise<unknown> {
    const ready = await this.process.waitFor(/^\{"ready":(.*)\}$/m)
    await ip(here, 'link', 'set', 'far', 'netns', there)
    for (const [namespace, device, number] of [
      [here, 'near', 1],
      [there, 'far', 2],
    ] as const) {
      await ip(namespace, 'link', 'set', device, 'up')
      await ip(namespace, 'addr', 'add', `10.87.0.${number}/24`, 'dev', device)
      await ip(namespace, 'addr', 'add', `fd87::${number}/64`, 'dev', device, 'nodad')
    }
    return JSON.parse(ready[1]!)
  }

  async stats(): Promise<PacketDeviceStats[]> {
    const since = this.process.mark
    this.process.write('stats\n')
    const answer = await this.process.waitFor(/^\{"stats":.*\}$/m, { since })
    return (JSON.parse(answer[0]) as { stats: PacketDeviceStats[] }).stats
  }
}

/** One transfer that must arrive whole: both ends' hashes are equal. */
async function whole(direction: 'get' | 'put', address: string, bytes: number): Promise<void> {
  const url = direction === 'get' ? `http://${address}:8080/${bytes}` : `http://${address}:8080/`
  const args = direction === 'get' ? ['get', url] : ['put', url, String(bytes)]
  const output = await mustRun(process.execPath, [transfer, ...args], { namespace: here, timeoutMs: 100_000 })
  const result = JSON.parse(output) as { bytes: number; here: string; there: string }
  expect(result).toMatchObject({ bytes })
  expect(result.here).toBe(result.there)
}

needs(
  'root',
  'tun',
  'ip',
  'ping',
)('offload', () => {
  let bridge: Bridge | undefined
  const others: LabProcess[] = []
  const start = (namespace: string, ...args: string[]): LabProcess => {
    const child = new LabProcess(process.execPath, args, { namespace })
    others.push(child)
    return child
  }

  beforeEach(async () => {
    for (const namespace of [here, there]) {
      await mustRun('ip', ['netns', 'add', namespace])
      await ip(namespace, 'link', 'set', 'lo', 'up')
    }
  })

  afterEach(async () => {
    for (const child of others.splice(0)) await child.stop('SIGKILL')
    await bridge?.process.stop('SIGKILL')
    bridge = undefined
    for (const namespace of [here, there]) await mustRun('ip', ['netns', 'del', namespace])
  })

  const support = tunSupport()

  test.each([
    ['all', true],
    ['tcp', true],
    ['write', false],
    ['plain', false],
  ] as const)('TCP whole, both ways and families, with %s', { timeout: 180_000 }, async (offload, superPackets) => {
    bridge = new Bridge({ near: offload, far: offload })
    expect(await bridge.up()).toEqual([
      { superPackets, superDatagrams: offload === 'all' && support.datagramSegmentation },
    ])
    await start(there, transfer, 'serve', '::', '8080').waitFor(/ready/)
    for (const address of ['10.87.0.2', '[fd87::2]']) {
      await whole('get', address, 100 * megabytes)
      await whole('put', address, 100 * megabytes)
      // Several flows, both ways at once: they interleave in the batches.
      const flows = (['get', 'put', 'get', 'put'] as const).map((way, i) => whole(way, address, (3 + i) * megabytes))
      await Promise.all(flows)
    }
    for (const device of await bridge.stats()) {
      expect(device).toMatchObject({ readDrops: 0, writeDrops: 0 })
      // The far more packets come in super-packets where there are some, and in single ones where there are none.
      expect(device.superPacketsRead > 1000).toBe(superPackets)
      expect(device.packetsRead / device.reads > 2).toBe(superPackets)
      if (superPackets) expect(device.superPacketsWritten).toBeGreaterThan(1000)
    }
  })

  test.each(['all', 'tcp', 'plain'] as const)('UDP in trains, with %s', { timeout: 90_000 }, async offload => {
    bridge = new Bridge({ near: offload, far: offload })
    await bridge.up()
    for (const address of ['10.87.0.2', 'fd87::2']) {
      await start(there, ...typescript, datagramScript, 'echo', address, '7000').waitFor(/ready/)
      const train = start(here, ...typescript, datagramScript, 'train', address, '7000', '200')
      const { output } = await train.finished
      expect(JSON.parse(output)).toMatchObject({ wrong: 0 })
    }
    for (const device of await bridge.stats()) {
      expect(device).toMatchObject({ readDrops: 0, writeDrops: 0 })
      const whole = offload === 'all' && support.datagramSegmentation
      expect(device.superPacketsRead > 100).toBe(whole)
    }
  })

  test.each(['all', 'write', 'plain'] as const)('what was read is written as it is, to a device with %s', async far => {
    bridge = new Bridge({ near: 'all', far, asItIs: true })
    await bridge.up()
    await start(there, transfer, 'serve', '::', '8080').waitFor(/ready/)
    for (const address of ['10.87.0.2', '[fd87::2]']) {
      await whole('get', address, 10 * megabytes)
      await whole('put', address, 10 * megabytes)
    }
    const stats = await bridge.stats()
    expect(stats[0]!.superPacketsRead).toBeGreaterThan(100)
    for (const device of stats) expect(device).toMatchObject({ readDrops: 0, writeDrops: 0 })
    expect(stats[0]!.packetsRead).toBe(stats[1]!.packetsWritten)
  })

  test('a worker thread reads and writes a device that the main thread opened', async () => {
    const host = new LabProcess(process.execPath, [...typescript, adoptingScript], { namespace: here })
    others.push(host)
    await host.waitFor(/ready/)
    const ping = ['-n', '-c', '3', '-i', '0.2', '-W', '5', '10.86.0.2']
    expect(await mustRun('ping', ping, { namespace: here })).toMatch(/3 received/)
    // The first thread ends; another one takes the same descriptor, and the interface stayed.
    await host.waitFor(/replaced/)
    expect(await mustRun('ping', ping, { namespace: here })).toMatch(/3 received/)
  })

  test('several queues of one interface', { timeout: 90_000 }, async () => {
    bridge = new Bridge({ near: 'all', far: 'all', queues: 2 })
    expect(await bridge.up()).toHaveLength(2)
    await start(there, transfer, 'serve', '::', '8080').waitFor(/ready/)
    await Promise.all(
      Array.from({ length: 8 }, (_, i) => whole(i % 2 === 0 ? 'get' : 'put', '10.87.0.2', 5 * megabytes)),
    )
    const stats = await bridge.stats()
    expect(stats.map(({ packetsRead }) => packetsRead > 100)).toEqual([true, true, true, true])
  })
})
