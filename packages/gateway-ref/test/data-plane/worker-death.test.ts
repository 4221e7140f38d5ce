// A worker that dies at any step, and its successor in the same memory: the rings between it and the main thread go on both
// ways. Its steps are its operations on shared memory and its calls to the outside; it dies before each of them in turn.
import { IpAddress } from '@twinbore/core/address'
import { PacketBatch } from '@twinbore/core/packet'
import { seededRandom } from '@twinbore/core/runtime'
import { udpPacket } from '@twinbore/core/testing'
import { nodeCrypto } from '@twinbore/dtls/io'
import { expect, test, vi } from 'vitest'
import type { PlaneCommand } from '../../src/data-plane/commands.ts'
import { DataPlaneEngine } from '../../src/data-plane/engine.ts'
import { Place, PlaneLoop } from '../../src/data-plane/io/plane-loop.ts'
import { StreamRings } from '../../src/data-plane/io/stream-rings.ts'
import { STATUS_WORDS, StatusWord } from '../../src/data-plane/io/worker-protocol.ts'
import { PacketRing } from '../../src/data-plane/rings/packet-ring.ts'
import { Carrier, trafficCells } from '../../src/data-plane/session-table.ts'
import { PacketHost } from '../support/packet-host.ts'
import { smallPlane } from '../support/small-plane.ts'

const server = '192.0.2.9'
const client = '10.77.0.5'

class Death extends Error {}

/** Where the worker is in its life, and where it ends. */
class Fate {
  steps = 0
  isRunning = false
  diesAt = Number.POSITIVE_INFINITY

  step(): void {
    if (this.isRunning && this.steps++ === this.diesAt) throw new Death()
  }

  /** Makes operations on shared memory steps, until `restore` of vitest. */
  watch(): void {
    for (const name of ['load', 'store', 'add', 'exchange'] as const) {
      const original = Atomics[name] as (...args: unknown[]) => never
      vi.spyOn(Atomics, name).mockImplementation((...args: unknown[]) => {
        this.step()
        return original(...args)
      })
    }
  }
}

class World {
  readonly network = new PacketHost()
  readonly toClient: number[] = []
  /** The eventfds: the main thread's, and the worker's. */
  isNotified = false
  isWoken = false
  readonly rings: StreamRings
  private readonly fate: Fate
  private status = new Int32Array(new SharedArrayBuffer(STATUS_WORDS * 4))
  private posted: PlaneCommand[][] = []
  private loop: PlaneLoop

  constructor(fate: Fate) {
    this.fate = fate
    this.rings = new StreamRings({
      wake: () => this.wake(),
      sendOnStream: (_session, bytes, offset, length) =>
        this.toClient.push(new DataView(bytes.buffer, bytes.byteOffset + offset, length).getUint16(22)),
    })
    this.loop = this.begin()
  }

  /** The main thread replaces the worker. */
  replace(): void {
    this.status = new Int32Array(new SharedArrayBuffer(STATUS_WORDS * 4))
    this.loop = this.begin()
    this.rings.takeOver()
  }

  /** Packets come in from the corporate side, and are numbered by their ports. */
  arrive(...ports: number[]): void {
    for (const destinationPort of ports) {
      this.network.send(udpPacket({ source: server, destination: client, sourcePort: 53, destinationPort }))
    }
  }

  /** Packets come in on the stream channel; the main thread's turn hands them on. */
  async receive(...ports: number[]): Promise<void> {
    const batch = new PacketBatch()
    for (const sourcePort of ports) {
      batch.push(udpPacket({ source: client, destination: server, sourcePort, destinationPort: 53 }), 0)
    }
    for (let slot = 0; slot < batch.count; slot++) this.rings.push(batch, slot)
    this.rings.publish()
    await new Promise(setImmediate)
  }

  /** Runs the worker until it has nothing to do. Returns whether it has died. */
  run(): boolean {
    const { fate } = this
    fate.isRunning = true
    try {
      // It blocks at the end of each: what wakes it, or is ready, is looked at before.
      for (let turn = 0; turn < 4; turn++) this.loop.once()
      return false
    } catch (error) {
      if (!(error instanceof Death)) throw error
      return true
    } finally {
      fate.isRunning = false
      fate.steps = 0
    }
  }

  /** The main thread's turn: what it was not told of it does not look for. */
  hear(): void {
    if (!this.isNotified) return
    this.isNotified = false
    this.rings.handOut()
  }

  /** The ports of what reached the corporate side. */
  async reached(): Promise<number[]> {
    await new Promise(setImmediate)
    return this.network.received.map(({ bytes }) => new DataView(bytes.buffer, bytes.byteOffset).getUint16(20))
  }

  private wake(): void {
    if (Atomics.exchange(this.status, StatusWord.waits, 0) === 1) this.isWoken = true
  }

  private begin(): PlaneLoop {
    const { fate, status } = this
    const toStreams = new PacketRing(this.rings.memory.toStreams)
    const engine = new DataPlaneEngine(smallPlane, {
      device: this.network.device,
      socket: undefined,
      crypto: nodeCrypto,
      random: seededRandom(1),
      totals: new Float64Array(trafficCells(4)),
      sendOnStream: (session, bytes, offset, length) => {
        fate.step()
        toStreams.push(bytes, offset, length, session)
      },
    })
    this.posted = [
      [
        { type: 'install-session', session: 0, entry: { ipv4: IpAddress.of(client).bytes, mtu: 1400 } },
        { type: 'set-carrier', session: 0, carrier: Carrier.stream },
      ],
    ]
    status[StatusWord.posted] = 1
    return new PlaneLoop(engine, {
      wait: {
        wait: () => {
          fate.step()
          return 2
        },
        isReady: place => place === Place.device || (place === Place.wake && this.isWoken),
        isBroken: () => false,
        sleepMicroseconds: () => fate.step(),
      },
      clock: { now: () => 0, wallClock: () => 0 },
      status,
      fromStreams: new PacketRing(this.rings.memory.fromStreams),
      toStreams,
      hasSocket: false,
      takeCommands: () => {
        fate.step()
        return this.posted.shift()
      },
      clearWake: () => {
        fate.step()
        this.isWoken = false
      },
      report: () => fate.step(),
      notify: () => {
        fate.step()
        this.isNotified = true
      },
    })
  }
}

test('packets of stream channels go on both ways after a death at any step, without another word', async () => {
  const fate = new Fate()
  fate.watch()
  try {
    let deaths = 0
    for (let hasDied = true; hasDied; deaths++) {
      const world = new World(fate)
      // Well for a while, so that everybody waits for everybody.
      expect(world.run()).toBe(false)
      world.arrive(1)
      expect(world.run()).toBe(false)
      world.hear()
      expect(world.toClient).toEqual([1])

      world.arrive(2, 3, 4)
      await world.receive(102, 103, 104)
      fate.diesAt = deaths
      hasDied = world.run()
      fate.diesAt = Number.POSITIVE_INFINITY
      world.hear()
      await world.receive(105)
      world.replace()
      world.hear()
      expect(world.run()).toBe(false)
      world.hear()

      world.arrive(6)
      await world.receive(106)
      expect(world.run()).toBe(false)
      world.hear()
      const at = `death at step ${deaths}`
      // What was under way may be lost, or come twice; the rest may not.
      expect(world.toClient.at(-1), at).toBe(6)
      expect(await world.reached(), at).toEqual(expect.arrayContaining([105, 106]))
      expect(world.rings.dropped, at).toBe(0)
    }
    expect(deaths).toBeGreaterThan(30)
  } finally {
    vi.restoreAllMocks()
  }
})
