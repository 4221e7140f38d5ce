// Several data planes as workers of one. Packets arrive at every wrong worker, and come out as they do with one.
import { IpAddress } from '@twinbore/core/address'
import { DropReason, IpProtocol } from '@twinbore/core/packet'
import { fragmentPacket, icmpEchoPacket, packetView, udpPacket } from '@twinbore/core/testing'
import { describe, expect, test } from 'vitest'
import { slicesOf } from '../../../src/data-plane/engine.ts'
import { allocateMesh, WorkerMesh } from '../../../src/data-plane/mesh/worker-mesh.ts'
import { Carrier } from '../../../src/data-plane/session-table.ts'
import {
  key,
  leaseOf,
  outside,
  portRange,
  portsOf,
  query,
  reply,
  server,
  WorkersWorld,
} from '../../support/workers-world.ts'

describe.each([2, 3])('%i workers that translate', workers => {
  test('answers reach the client from whichever queue they come, and come out as with one worker', () => {
    const alone = new WorkersWorld(1)
    const world = new WorkersWorld(workers)
    for (let session = 0; session < 4; session++) {
      const client = world.connect(session, session % workers)
      const other = alone.connect(session, 0)
      client.send(query(session))
      other.send(query(session))
      const [out] = world.sent()
      const [wanted] = alone.sent()
      // Its port is of the worker where its client is.
      const port = portsOf(out!.packet).source
      expect(slicesOf({ portRange }, { workers }).workerOf(port)).toBe(session % workers)
      expect(out!.worker).toBe(session % workers)
      expect(out!.packet.source).toBe(outside)
      for (let queue = 0; queue < workers; queue++) {
        const payload = Uint8Array.of(session, queue)
        world.devices[queue]!.send(reply(outside, port, payload))
        alone.devices[0]!.send(reply(outside, portsOf(wanted!.packet).source, payload))
        world.pump()
        alone.pump()
        const received = client.take()
        expect(received).toHaveLength(1)
        expect(received.map(({ bytes }) => bytes)).toEqual(other.take().map(({ bytes }) => bytes))
      }
    }
    expect(world.drops()).toEqual({})
  })

  test('a flow keeps its mapping when the association comes up at another worker', () => {
    const world = new WorkersWorld(workers)
    const before = world.connect(1, 0)
    before.send(query(1))
    const port = portsOf(world.sent()[0]!.packet).source
    expect([world.places.ownerOf(1), world.places.homeOf(1)]).toEqual([0, 0])
    const client = world.connect(1, 1)
    expect([world.places.ownerOf(1), world.places.homeOf(1)]).toEqual([1, 0])
    client.send(query(1))
    const [out] = world.sent()
    expect([out!.worker, portsOf(out!.packet).source]).toEqual([0, port])
    for (let queue = 0; queue < workers; queue++) {
      world.devices[queue]!.send(reply(outside, port, Uint8Array.of(9)))
      world.pump()
      expect(client.take()).toHaveLength(1)
    }
    expect(before.take()).toEqual([])
    expect(world.drops()).toEqual({})
  })

  test('streams and echoes find their way too', () => {
    const world = new WorkersWorld(workers)
    world.install(2)
    const echo = (source: string, destination: string, identifier: number, isReply: boolean) =>
      icmpEchoPacket({ source, destination, identifier, sequenceNumber: 1, reply: isReply, payload: Uint8Array.of(1) })
    world.fromStream(2, 1, echo(leaseOf(2), server, 77, false))
    const [out] = world.sent()
    expect([out!.worker, out!.packet.protocol, world.places.homeOf(2)]).toEqual([1, IpProtocol.icmp, 1])
    const identifier = packetView(out!.packet.bytes).getUint16(out!.packet.transportAt + 4)
    for (let queue = 0; queue < workers; queue++) world.devices[queue]!.send(echo(server, outside, identifier, true))
    world.pump()
    expect(world.onStream.map(({ worker, session, packet }) => [worker, session, packet.destination])).toEqual(
      Array.from({ length: workers }, () => [1, 2, leaseOf(2)]),
    )
  })

  test('what may not leave does not become anybody’s, nor goes to another worker', () => {
    const world = new WorkersWorld(workers)
    const client = world.connect(0, 1)
    client.send(query(3))
    client.send(
      udpPacket({ source: leaseOf(0), destination: leaseOf(3), sourcePort: 1, destinationPort: 2, payload: key }),
    )
    expect(world.sent()).toEqual([])
    expect(world.places.homeOf(0)).toBe(-1)
    expect(world.drops()).toMatchObject({ spoofedSource: 1, deniedDestination: 1 })
  })

  test('a packet on its way to a session that is gone meanwhile reaches nobody, not even who has its number', () => {
    const world = new WorkersWorld(workers)
    const client = world.connect(1, 0)
    client.send(query(1))
    const port = portsOf(world.sent()[0]!.packet).source
    world.connect(1, 1)
    world.devices[0]!.send(reply(outside, port, Uint8Array.of(9)))
    world.engines[0]!.pumpDevice(1, 0)
    expect(world.woken).toEqual([])
    world.command({ type: 'remove-session', session: 1 })
    world.command({
      type: 'install-session',
      session: 1,
      entry: { ipv4: IpAddress.of('10.77.0.99').bytes, mtu: 1300 },
    })
    world.command({ type: 'set-carrier', session: 1, carrier: Carrier.stream })
    world.pump()
    expect(world.onStream).toEqual([])
    expect(world.drops()).toEqual({ noSession: 1 })
  })

  test('a successor does not take what was for the one that died, and counts it', () => {
    const world = new WorkersWorld(workers)
    const client = world.connect(1, 0)
    client.send(query(1))
    const port = portsOf(world.sent()[0]!.packet).source
    world.devices[1]!.send(reply(outside, port, Uint8Array.of(9)))
    world.engines[1]!.pumpDevice(1, 0)
    world.engines[0] = world.start(0)
    world.pump()
    expect(client.take()).toEqual([])
    expect(world.engines[0].stats().drops).toEqual({ queueFull: 1 })
  })

  test('a successor goes on with the flows of the one that died, and only with those', () => {
    const world = new WorkersWorld(workers)
    for (const session of [1, 2]) world.install(session)
    world.fromStream(1, 0, query(1))
    world.fromStream(2, 1, query(2))
    const before = world.sent().map(({ packet }) => portsOf(packet).source)
    world.replace(0)
    expect(world.engines[0]!.stats().translator).toMatchObject({ restored: { mappings: 1, sessions: 1 } })
    // What comes from outside first finds its client as well.
    world.devices[0]!.send(reply(outside, before[0]!, Uint8Array.of(9)))
    world.pump()
    expect(world.onStream.splice(0).map(({ session, packet }) => [session, portsOf(packet).destination])).toEqual([
      [1, 4000],
    ])
    world.fromStream(1, 0, query(1))
    world.fromStream(2, 1, query(2))
    expect(world.sent().map(({ packet }) => portsOf(packet).source)).toEqual(before)
    expect(world.drops()).toEqual({})
  })

  test('a successor forgets what the one that died was to forget, before anybody can use it', () => {
    const world = new WorkersWorld(workers)
    world.install(1)
    world.fromStream(1, 0, query(1))
    const port = portsOf(world.sent()[0]!.packet).source
    // The address is the next session's already.
    world.replace(0, { first: [{ type: 'remove-inside', address: IpAddress.of(leaseOf(1)).bytes }] })
    world.devices[0]!.send(reply(outside, port, Uint8Array.of(9)))
    world.pump()
    expect(world.onStream).toEqual([])
    world.fromStream(1, 0, query(1))
    expect(portsOf(world.sent()[0]!.packet).source).not.toBe(port)
    expect(world.engines[0]!.stats().translator).toMatchObject({
      drops: { noMapping: 1 },
      quarantinedPorts: { udp: 1 },
    })
  })

  test('fragments of a datagram may come through any queues, in any order', () => {
    const world = new WorkersWorld(workers)
    const client = world.connect(1, 0)
    client.send(query(1))
    const port = portsOf(world.sent()[0]!.packet).source
    let identification = 1
    for (let first = 0; first < workers; first++) {
      for (let later = 0; later < workers; later++) {
        for (const laterIsEarly of [false, true]) {
          const pieces = fragmentPacket(
            udpPacket({
              source: server,
              destination: outside,
              sourcePort: 53,
              destinationPort: port,
              identification: identification++,
              payload: new Uint8Array(100),
            }),
            68,
          )
          const ways = pieces.map((piece, n) => [piece, n === 0 ? first : later] as const)
          for (const [piece, queue] of laterIsEarly ? ways.reverse() : ways) {
            world.devices[queue]!.send(piece)
            world.pump()
          }
          expect(client.take()).toHaveLength(pieces.length)
        }
      }
    }
    expect(world.drops()).toEqual({})
  })

  test('a ring that is full drops and counts, and goes on when it is emptied', () => {
    const world = new WorkersWorld(workers)
    const client = world.connect(1, 0)
    client.send(query(1))
    const port = portsOf(world.sent()[0]!.packet).source
    const payload = new Uint8Array(1200)
    const count = 4000
    for (let n = 0; n < count; n++) {
      world.devices[1]!.send(reply(outside, port, payload))
      world.engines[1]!.pumpDevice(1, 0)
    }
    const dropped = world.drops().queueFull!
    expect(dropped).toBeGreaterThan(0)
    world.pump()
    expect(client.take()).toHaveLength(count - dropped)
    world.devices[1]!.send(reply(outside, port, payload))
    world.pump()
    expect(client.take()).toHaveLength(1)
  })
})

describe('workers in front of a kernel that translates', () => {
  test('packets leave where they came, and answers reach the client from whichever queue they come', () => {
    const world = new WorkersWorld(3, 'kernel')
    for (let session = 0; session < 3; session++) {
      const client = world.connect(session, (session + 1) % 3)
      client.send(query(session))
      const [out] = world.sent()
      expect([out!.worker, out!.packet.source]).toEqual([(session + 1) % 3, leaseOf(session)])
      for (let queue = 0; queue < 3; queue++)
        world.devices[queue]!.send(reply(leaseOf(session), 4000, Uint8Array.of(1)))
      world.pump()
      expect(client.take()).toHaveLength(3)
    }
    expect(world.drops()).toEqual({})
  })

  test('a session without association is one worker’s all the same', () => {
    const world = new WorkersWorld(2, 'kernel')
    world.install(3)
    for (const host of world.devices) host.send(reply(leaseOf(3), 4000, Uint8Array.of(1)))
    world.pump()
    expect(world.onStream.map(({ worker }) => worker)).toEqual([1, 1])
  })
})

test('a worker that waits is woken once for what it is handed', () => {
  const memory = allocateMesh(2, 4)
  const woken: number[] = []
  const meshes = [0, 1].map(self => new WorkerMesh(memory, self, worker => woken.push(worker)))
  const world = new WorkersWorld(1)
  const batch = world.engines[0]!.fromStreams
  const hand = () => {
    batch.reset()
    batch.push(query(0), 0)
    meshes[0]!.handOver(batch, 0, 1, 1)
    meshes[0]!.publish()
  }
  hand()
  expect([woken, meshes[1]!.willWait(), meshes[1]!.isEmpty]).toEqual([[], false, false])
  meshes[1]!.discard()
  expect(meshes[1]!.willWait()).toBe(true)
  hand()
  hand()
  expect(woken).toEqual([1])
  meshes[1]!.isAwake()
  expect(batch.drops[DropReason.queueFull]).toBe(0)
})
