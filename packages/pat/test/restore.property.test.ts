// A translator's thread may stop between any two stores. Whatever it was about, its successor has the flows that were there
// before and after, with their outside endpoints; none that were not; no endpoint twice; and no port that is in use or rests.
import { TcpFlag } from '@twinbore/core/packet'
import { type Random, seededRandom } from '@twinbore/core/runtime'
import { icmpEchoPacket } from '@twinbore/core/testing'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { allocateTranslatorMemory, type PatOptions, type PatOutput, type TranslatorMemory } from '../src/index.ts'
import { Harness, sourcePortOf, tcp, udp, udpAnswer } from './harness.ts'
import { copyMemory, letAtomicsWatch, watchStores } from './kept-memory.ts'

const seed = Number(process.env.FUZZ_SEED ?? 1)
const steps = Number(process.env.FUZZ_RUNS ?? 250)
const ports = { first: 30_000, last: 30_150 }
const clients = ['10.8.0.1', '10.8.0.2', '10.8.0.3', 'fd00::1', 'fd00::2']
const size = { maxMappings: 300, maxSessions: 600 }
const options: Partial<PatOptions> = {
  ...size,
  outsideAddresses: ['203.0.113.1', '203.0.113.2', '2001:db8::1'],
  portRange: ports,
  logMappings: true,
  icmpErrorsPerSecond: 1,
  newMappingBurst: 1e6,
}

/** Who has an outside endpoint, by protocol and inside endpoint. */
type Flows = Map<string, string>

beforeEach(() => letAtomicsWatch())
afterEach(() => vi.restoreAllMocks())

class World {
  readonly random: Random
  memory: TranslatorMemory = allocateTranslatorMemory(size)
  harness: Harness
  flows: Flows = new Map()
  /** When ports were freed, by protocol and outside endpoint. */
  readonly freed = new Map<string, number>()
  deaths = 0
  private storesLeft = 0
  private atDeath: TranslatorMemory | undefined

  constructor(run: number) {
    this.random = seededRandom(run * 1000 + seed)
    this.harness = this.start(1_000_000)
  }

  /** One operation, in which the thread may stop. */
  step(): void {
    const before = new Map(this.flows)
    // Most operations make fewer stores than this: then it stops right behind them.
    this.storesLeft = this.below(40)
    this.atDeath = undefined
    this.operate()
    this.follow()
    const memory = this.atDeath ?? copyMemory(this.memory, size)
    const found = this.inherited(memory)
    for (const [inside, outside] of found) expect([before.get(inside), this.flows.get(inside)]).toContain(outside)
    for (const [inside, outside] of before) {
      if (this.flows.get(inside) === outside) expect([inside, found.get(inside)]).toEqual([inside, outside])
    }
    expect(new Set(Array.from(found, ([key, outside]) => `${key[0]} ${outside}`)).size).toBe(found.size)
    if (!this.atDeath) expect(found).toEqual(this.flows)
    this.checkNewPorts(memory, found)
    if (this.below(20) > 0) return
    // It goes on with the successor.
    this.deaths++
    this.memory = memory
    this.flows = found
    this.harness = this.start(this.harness.now)
  }

  private start(now: number): Harness {
    const harness = new Harness(
      { ...options, random: seededRandom(this.random.uint32()) },
      { memory: this.memory, now },
    )
    watchStores(harness.translator, () => {
      if (this.storesLeft-- === 0) this.atDeath = copyMemory(this.memory, size)
    })
    return harness
  }

  private operate(): void {
    const { harness } = this
    const source = clients[this.below(clients.length)]!
    const isIpv4 = !source.includes(':')
    const destination = `${isIpv4 ? '198.51.100.' : '2001:db8:ff::'}${1 + this.below(3)}`
    const flow = { source, destination, sourcePort: 1 + this.below(40) }
    switch (this.below(12)) {
      case 0:
        if (this.below(4) === 0) harness.translator.removeInside(source, harness.now)
        break
      case 1:
        harness.advance(1000 * this.below(100))
        break
      case 2:
        harness.out(icmpEchoPacket({ ...flow, identifier: flow.sourcePort }))
        break
      case 3:
      case 4:
      case 5:
      case 6: {
        const sent = harness.out(tcp({ ...flow, flags: this.below(3) === 0 ? this.below(32) : TcpFlag.syn }))
        if (typeof sent === 'string') break
        const back = { source: destination, destination: source, sourcePort: 80, destinationPort: 0 }
        const port = sourcePortOf(sent)
        const flags = this.below(3) === 0 ? this.below(32) : TcpFlag.syn | TcpFlag.ack
        harness.in(
          tcp({ ...back, destination: sourceOfText(sent), destinationPort: port, flags, acknowledgmentNumber: 1 }),
        )
        break
      }
      default: {
        const sent = harness.out(udp(flow))
        if (typeof sent === 'object') harness.in(udpAnswer(sent))
      }
    }
  }

  /** Keeps the reference by what is told. */
  private follow(): void {
    const { translator, outputs } = this.harness
    for (let output = translator.poll(); output; output = translator.poll()) outputs.push(output)
    for (const output of outputs.splice(0)) {
      if (output.type !== 'mapping-created' && output.type !== 'mapping-expired') continue
      const [key, outside] = named(output)
      if (output.type === 'mapping-created') this.flows.set(key, outside)
      else {
        this.flows.delete(key)
        if (output.protocol !== 'tcp') this.freed.set(`${key[0]} ${outside}`, output.at)
      }
    }
  }

  /** What a successor has: it tells of all that it forgets. */
  private inherited(memory: TranslatorMemory): Flows {
    const { now } = this.harness
    const successor = new Harness(options, { memory: copyMemory(memory, size), now })
    const { broken, refused, conflicting } = successor.translator.stats().restored!.dropped
    expect([refused, conflicting]).toEqual([0, 0])
    expect(broken).toBeLessThanOrEqual(1)
    for (const source of clients) successor.translator.removeInside(source, now)
    for (let output = successor.translator.poll(); output; output = successor.translator.poll()) {
      successor.outputs.push(output)
    }
    const ended = successor.outputs.filter(output => output.type === 'mapping-expired')
    return new Map(ended.map(named))
  }

  /** Newcomers get neither ports in use nor ports that rest. */
  private checkNewPorts(memory: TranslatorMemory, flows: Flows): void {
    if (this.below(10) > 0) return
    const { now } = this.harness
    const successor = new Harness(options, { memory: copyMemory(memory, size), now })
    const taken = new Set(Array.from(flows, ([key, outside]) => `${key[0]} ${outside}`))
    for (let sourcePort = 1; ; sourcePort++) {
      const sent = successor.out(udp({ source: '10.8.0.9', sourcePort }))
      if (typeof sent === 'string') break
      const endpoint = `u ${sourceOfText(sent)} ${sourcePortOf(sent)}`
      expect(taken).not.toContain(endpoint)
      expect(now - (this.freed.get(endpoint) ?? Number.NEGATIVE_INFINITY)).toBeGreaterThanOrEqual(120_000)
    }
  }

  private below(limit: number): number {
    return this.random.uint32() % limit
  }
}

function named({
  protocol,
  inside,
  outside,
}: PatOutput & { readonly type: 'mapping-created' | 'mapping-expired' }): [string, string] {
  return [`${protocol} ${inside.address} ${inside.port}`, `${outside.address} ${outside.port}`]
}

function sourceOfText(packet: Uint8Array): string {
  return packet[0]! >>> 4 === 4 ? packet.subarray(12, 16).join('.') : '2001:db8::1'
}

describe('a thread that stops anywhere', () => {
  test.each([1, 2, 3])(`has a successor with its flows, over ${steps} steps (seed %i)`, run => {
    const world = new World(run)
    for (let step = 0; step < steps; step++) world.step()
    expect(world.deaths).toBeGreaterThan(steps / 40)
  })
})
