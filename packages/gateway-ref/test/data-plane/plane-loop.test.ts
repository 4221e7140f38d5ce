// The loop of a data plane's thread, with a wait that a test controls in place of poll(2).
import { IpAddress } from '@twinbore/core/address'
import { PacketBatch } from '@twinbore/core/packet'
import { seededRandom } from '@twinbore/core/runtime'
import { udpPacket } from '@twinbore/core/testing'
import { nodeCrypto } from '@twinbore/dtls/io'
import { describe, expect, test } from 'vitest'
import type { PlaneCommand } from '../../src/data-plane/commands.ts'
import { DataPlaneEngine } from '../../src/data-plane/engine.ts'
import { Place, PlaneLoop } from '../../src/data-plane/io/plane-loop.ts'
import { STATUS_WORDS, StatusWord, type WorkerReport } from '../../src/data-plane/io/worker-protocol.ts'
import { allocateMesh, Handover, WorkerMesh } from '../../src/data-plane/mesh/worker-mesh.ts'
import { PacketRing } from '../../src/data-plane/rings/packet-ring.ts'
import { Carrier, trafficCells } from '../../src/data-plane/session-table.ts'
import { PacketHost } from '../support/packet-host.ts'
import { smallPlane } from '../support/small-plane.ts'

const server = '192.0.2.9'

class World {
  readonly network = new PacketHost()
  readonly status = new Int32Array(new SharedArrayBuffer(STATUS_WORDS * 4))
  readonly fromStreams = new PacketRing(PacketRing.allocate(65_536))
  readonly toStreams = new PacketRing(PacketRing.allocate(1024))
  readonly reports: WorkerReport[] = []
  /** How long each wait was asked to last. */
  readonly waits: number[] = []
  readonly sleeps: number[] = []
  whileAsleep: (() => void) | undefined
  notified = 0
  now = 1000
  /** What is ready at the next wait. */
  ready: number[] = []
  broken = -1
  readonly loop: PlaneLoop
  private readonly posted: PlaneCommand[] = []

  constructor(mesh?: WorkerMesh) {
    const engine = new DataPlaneEngine(smallPlane, {
      device: this.network.device,
      socket: undefined,
      crypto: nodeCrypto,
      random: seededRandom(1),
      totals: new Float64Array(trafficCells(4)),
      mesh,
      sendOnStream: (session, bytes, offset, length) => void this.toStreams.push(bytes, offset, length, session),
    })
    let ready: number[] = []
    this.loop = new PlaneLoop(engine, {
      wait: {
        wait: timeout => {
          this.waits.push(timeout)
          ready = this.ready.splice(0)
          return ready.length
        },
        isReady: place => ready.includes(place),
        isBroken: place => this.broken === place,
        sleepMicroseconds: time => {
          this.sleeps.push(time)
          this.whileAsleep?.()
        },
      },
      clock: { now: () => this.now, wallClock: () => 0 },
      status: this.status,
      fromStreams: this.fromStreams,
      toStreams: this.toStreams,
      hasSocket: false,
      mesh,
      takeCommands: () => {
        const command = this.posted.shift()
        return command && [command]
      },
      clearWake: () => {},
      report: report => this.reports.push(report),
      notify: () => this.notified++,
    })
    this.post({
      type: 'install-session',
      session: 0,
      entry: { ipv4: IpAddress.of('10.77.0.5').bytes, mtu: 1400 },
    })
    this.post({ type: 'set-carrier', session: 0, carrier: Carrier.stream })
    // The device is found empty once before it is waited for.
    this.loop.once()
    this.loop.once()
    this.waits.length = 0
  }

  post(command: PlaneCommand): void {
    this.posted.push(command)
    Atomics.add(this.status, StatusWord.posted, 1)
  }

  /** Packets for the client arrive at the device. */
  arrive(count: number): void {
    for (let n = 0; n < count; n++) {
      this.network.send(udpPacket({ source: server, destination: '10.77.0.5', sourcePort: 53, destinationPort: n }))
    }
    this.ready.push(Place.device)
  }
}

describe('a loop', () => {
  test('waits up to a tenth of a second when nothing is due, and shows life', () => {
    const world = new World()
    const before = world.status[StatusWord.heartbeat]!
    world.loop.once()
    expect(world.waits).toEqual([100])
    expect(world.status[StatusWord.heartbeat]).toBe(before + 1)
    expect(world.status[StatusWord.waits]).toBe(0)
  })

  test('does not wait when another worker has handed something over', () => {
    const memory = allocateMesh(2, 4)
    const world = new World(new WorkerMesh(memory, 0, () => {}))
    const other = new WorkerMesh(memory, 1, () => {})
    const batch = new PacketBatch()
    batch.push(udpPacket({ source: server, destination: '10.77.0.5', sourcePort: 53, destinationPort: 9 }))
    other.handOver(batch, 0, 0, Handover.fromDevice)
    other.publish()
    world.loop.once()
    expect(world.waits).toEqual([0])
    expect(world.toStreams.isEmpty).toBe(false)
    world.loop.once()
    expect(world.waits).toEqual([0, 100])
  })

  test('does not wait when a command or a packet of a stream has come', () => {
    const world = new World()
    world.post({ type: 'remove-session', session: 0 })
    world.loop.once()
    expect(world.waits).toEqual([0])
    expect(world.reports.at(-1)?.events).toEqual([{ type: 'session-removed', session: 0 }])
    expect(world.status[StatusWord.taken]).toBe(world.status[StatusWord.posted])
    world.fromStreams.push(new Uint8Array(20), 0, 20, 0)
    world.fromStreams.publish()
    world.loop.once()
    expect(world.waits).toEqual([0, 0])
    expect(world.fromStreams.isEmpty).toBe(true)
  })

  test('takes packets of streams to the device', async () => {
    const world = new World()
    const packet = udpPacket({ source: '10.77.0.5', destination: server, sourcePort: 1, destinationPort: 2 })
    for (let n = 0; n < 100; n++) world.fromStreams.push(packet, 0, packet.length, 0)
    world.fromStreams.publish()
    world.loop.once()
    await new Promise(setImmediate)
    expect(world.network.received).toHaveLength(100)
  })

  test('hands packets of the device to streams, with one wakeup for all, and counts what finds no room', () => {
    const world = new World()
    expect(world.toStreams.willWait()).toBe(true)
    world.arrive(40)
    world.loop.once()
    const batch = new PacketBatch()
    const moved = world.toStreams.drainTo(batch)
    expect(moved).toBeGreaterThan(10)
    expect(moved + world.toStreams.dropped).toBe(40)
    expect(world.notified).toBe(1)
    expect(batch.owners[0]).toBe(0)
  })

  test('tells activity at its time, and counters with it', () => {
    const world = new World()
    world.arrive(1)
    world.loop.once()
    const told = () => world.reports.flatMap(({ events }) => events).filter(({ type }) => type === 'activity').length
    expect(told()).toBe(1)
    world.now += 10
    world.arrive(1)
    world.loop.once()
    expect(told()).toBe(1)
    world.loop.once()
    expect(world.waits.at(-1)).toBeCloseTo(40)
    world.now += 41
    world.loop.once()
    expect(told()).toBe(2)
    world.now += 200
    world.loop.once()
    expect(world.reports.at(-1)?.stats?.device.packetsRead).toBe(2)
  })

  test('sleeps before it looks again while packets come fast, and not otherwise', () => {
    const world = new World()
    for (let i = 0; i < 20; i++) {
      world.now += 20
      world.arrive(1)
      world.loop.once()
    }
    expect(world.sleeps).toEqual([])
    for (let i = 0; i < 20; i++) {
      world.now += 0.2
      world.arrive(20)
      world.loop.once()
    }
    expect(world.sleeps.length).toBeGreaterThan(10)
    const { length } = world.sleeps
    world.now += 20
    world.arrive(1)
    world.loop.once()
    world.arrive(1)
    world.loop.once()
    expect(world.sleeps.length).toBeLessThanOrEqual(length + 1)
  })

  test('takes packets of streams that came while it slept, without another wait', () => {
    const world = new World()
    for (let i = 0; i < 20; i++) {
      world.now += 0.2
      world.arrive(20)
      world.loop.once()
    }
    // The device is found empty.
    world.loop.once()
    world.now += 0.2
    world.waits.length = 0
    world.sleeps.length = 0
    world.whileAsleep = () => {
      world.fromStreams.push(new Uint8Array(20), 0, 20, 0)
      world.fromStreams.publish()
    }
    world.loop.once()
    expect(world.sleeps).toHaveLength(1)
    expect(world.waits).toEqual([0])
    expect(world.fromStreams.isEmpty).toBe(true)
  })

  test('ends with its device', () => {
    const world = new World()
    world.broken = Place.device
    world.ready.push(Place.device)
    expect(world.loop.turn()).toBe(false)
    expect(world.reports.at(-1)).toEqual({ events: [], lost: 'the interface is gone' })
  })
})
