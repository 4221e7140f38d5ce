// A data plane as its control plane sees it: commands in, events out; memory in place of UDP and of the device, real DTLS.
import { encodeDatagramFrame, FrameType } from '@twinbore/core'
import { IpAddress } from '@twinbore/core/address'
import { seededRandom } from '@twinbore/core/runtime'
import { udpPacket } from '@twinbore/core/testing'
import { type AssociationSnapshot, DtlsAssociation } from '@twinbore/dtls'
import { nodeCrypto } from '@twinbore/dtls/io'
import { describe, expect, test } from 'vitest'
import type { PlaneCommand } from '../../src/data-plane/commands.ts'
import { sequenceCells } from '../../src/data-plane/datagram-side.ts'
import { DataPlaneEngine, type PlaneSettings } from '../../src/data-plane/engine.ts'
import type { PlaneEvent } from '../../src/data-plane/events.ts'
import { Carrier, trafficCells, trafficOf } from '../../src/data-plane/session-table.ts'
import { MemoryNetwork, type MemorySocket } from '../support/memory-socket.ts'
import { PacketHost } from '../support/packet-host.ts'

const appId = (n: number) => new Uint8Array(32).fill(n)
const key = new Uint8Array(32).fill(7)
const server = '192.0.2.9'
const entry = { ipv4: IpAddress.of('10.77.0.5').bytes, mtu: 1300 }
const settings: PlaneSettings = {
  capacity: 4,
  maxAssociations: 8,
  translation: undefined,
  destinations: { pools: ['10.77.0.0/24'], ownAddresses: [], allowed: [] },
  gatewayAddresses: {},
  mtu: 1400,
}

class World {
  readonly network = new PacketHost()
  readonly udp = new MemoryNetwork()
  readonly socket: MemorySocket = this.udp.open('192.0.2.1', 443)
  readonly totals = new Float64Array(trafficCells(settings.capacity))
  readonly sequences = new Float64Array(sequenceCells(settings.maxAssociations))
  readonly onStream: number[] = []
  readonly told: PlaneEvent[] = []
  engine: DataPlaneEngine

  constructor() {
    this.socket.stats = () => ({}) as ReturnType<MemorySocket['stats']>
    this.engine = this.start()
  }

  /** A data plane that knows nothing yet, over the same socket, device and memory. */
  start(): DataPlaneEngine {
    this.engine = new DataPlaneEngine(settings, {
      device: this.network.device,
      socket: this.socket,
      crypto: nodeCrypto,
      random: seededRandom(5),
      totals: this.totals,
      sequences: this.sequences,
      sendOnStream: session => this.onStream.push(session),
    })
    return this.engine
  }

  command(...commands: PlaneCommand[]): PlaneEvent[] {
    // As if they had come from another thread.
    for (const command of commands) this.engine.handleCommand(structuredClone(command), 0)
    return this.drain()
  }

  /** Lets through what waits at the socket. */
  pump(): PlaneEvent[] {
    while (!this.engine.pumpSocket(1, 0));
    return this.drain()
  }

  drain(): PlaneEvent[] {
    const events: PlaneEvent[] = []
    for (let event = this.engine.poll(); event; event = this.engine.poll()) events.push(structuredClone(event))
    this.told.push(...events)
    return events
  }

  client(name: number, port = 40_000): Client {
    return new Client(this, appId(name), port)
  }

  /** The newest event of a type. */
  last<Type extends PlaneEvent['type']>(type: Type): Extract<PlaneEvent, { type: Type }> {
    const found = this.told.findLast((event): event is Extract<PlaneEvent, { type: Type }> => event.type === type)
    if (!found) throw new Error(`nothing was told of ${type}`)
    return found
  }
}

class Client {
  readonly association: DtlsAssociation
  socket: MemorySocket
  private readonly world: World

  constructor(world: World, sessionId: Uint8Array, port: number) {
    this.world = world
    this.socket = world.udp.open('198.51.100.7', port)
    this.association = new DtlsAssociation({
      role: 'client',
      crypto: nodeCrypto,
      random: seededRandom(port),
      psk: { identity: 'psk', key },
      sessionId,
    })
    this.association.start(0)
    for (let flight = 0; flight < 6; flight++) {
      this.drain()
      world.pump()
      this.take()
    }
  }

  send(type: FrameType, payload: Uint8Array): PlaneEvent[] {
    this.association.send(encodeDatagramFrame(type, payload), 0)
    this.drain()
    return this.world.pump()
  }

  /** Opens what came since the last call: frames, with their type first. */
  take(): Uint8Array[] {
    for (const { bytes } of this.socket.waiting.splice(0)) this.association.handleDatagram(bytes, 0)
    return this.drain()
  }

  private drain(): Uint8Array[] {
    const received: Uint8Array[] = []
    const endpoint = this.socket.endpoints.intern('192.0.2.1', 443)
    for (let out = this.association.poll(); out; out = this.association.poll()) {
      if (out.type === 'transmit') this.socket.sendTo(endpoint, out.bytes)
      else if (out.type === 'received') received.push(out.bytes)
    }
    return received
  }
}

const packet = (source = '10.77.0.5') =>
  udpPacket({ source, destination: server, sourcePort: 4000, destinationPort: 53, payload: Uint8Array.of(1, 2) })

/** A session (0) with an established association, whose packets go by it. */
function established(): { world: World; client: Client } {
  const world = new World()
  world.command(
    { type: 'install-session', session: 0, entry },
    { type: 'permit', session: 0, appId: appId(1), key },
    { type: 'set-carrier', session: 0, carrier: Carrier.datagram },
  )
  return { world, client: world.client(1) }
}

describe('a data plane', () => {
  test('opens a datagram channel to whom it is told to, and says so', () => {
    const { world } = established()
    expect(world.last('association-established')).toMatchObject({
      session: 0,
      overhead: 37,
      address: '198.51.100.7',
      port: 40_000,
      snapshot: { format: 1 },
    })
    const told = world.told.length
    world.client(2, 40_001)
    expect(world.told.slice(told)).toEqual([])
  })

  test('carries packets both ways, and counts them where everybody can read it', async () => {
    const { world, client } = established()
    expect(client.send(FrameType.data, packet())).toMatchObject([{ type: 'activity' }])
    await new Promise(setImmediate)
    expect(world.network.received.map(({ source }) => source)).toEqual(['10.77.0.5'])
    world.network.send(udpPacket({ source: server, destination: '10.77.0.5', sourcePort: 53, destinationPort: 4000 }))
    while (!world.engine.pumpDevice(1, 0));
    expect(client.take().map(frame => frame[0])).toEqual([FrameType.data])
    expect(trafficOf(world.totals, 0, Carrier.datagram)).toMatchObject({ packetsReceived: 1, packetsSent: 1 })
    expect(world.engine.stats().sessions).toBe(1)
  })

  test('hands packets to stream channels and takes theirs', async () => {
    const { world } = established()
    world.command({ type: 'set-carrier', session: 0, carrier: Carrier.stream })
    const batch = world.engine.fromStreams
    batch.reset()
    batch.push(packet(), 0)
    batch.push(packet('10.77.0.6'), 0)
    world.engine.handleStreamPackets(batch, 0)
    await new Promise(setImmediate)
    expect(world.network.received).toHaveLength(1)
    world.network.send(udpPacket({ source: server, destination: '10.77.0.5', sourcePort: 53, destinationPort: 4000 }))
    while (!world.engine.pumpDevice(1, 0));
    expect(world.onStream).toEqual([0])
  })

  test('passes control frames on and sends them', () => {
    const { world, client } = established()
    const payload = Uint8Array.of(9, 9)
    expect(client.send(FrameType.dpdRequest, payload)).toEqual([
      { type: 'control-frame', session: 0, frameType: FrameType.dpdRequest, payload },
    ])
    world.command({ type: 'send-control-frame', session: 0, frameType: FrameType.dpdResponse, payload })
    expect(client.take()).toEqual([encodeDatagramFrame(FrameType.dpdResponse, payload)])
    world.command({ type: 'send-control-frame', session: 3, frameType: FrameType.dpdResponse, payload })
  })

  test('forgets a session with its association and its App-ID, and says that the number is free', () => {
    const { world, client } = established()
    expect(world.command({ type: 'remove-session', session: 0 })).toEqual([{ type: 'session-removed', session: 0 }])
    expect(client.send(FrameType.data, packet())).toEqual([])
    const told = world.told.length
    world.client(1, 40_001)
    expect(world.told.slice(told)).toEqual([])
  })

  test('lets a newer association of a session take its place', () => {
    const { world } = established()
    const { association } = world.last('association-established')
    world.command({ type: 'permit', session: 0, appId: appId(2), key })
    world.client(2, 40_001)
    expect(world.last('association-established').association).not.toBe(association)
    expect(world.told.filter(({ type }) => type === 'association-closed')).toEqual([])
    // What is said of the old one comes too late.
    expect(world.command({ type: 'close-association', session: 0, association })).toEqual([])
  })

  test('opens no more channels while it drains', () => {
    const world = new World()
    world.command(
      { type: 'install-session', session: 0, entry },
      { type: 'permit', session: 0, appId: appId(1), key },
      { type: 'drain' },
    )
    world.client(1)
    expect(world.told).toEqual([])
  })

  test('refuses the destinations that it is told to', async () => {
    const { world, client } = established()
    world.command({ type: 'set-destinations', destinations: { pools: [], ownAddresses: [server], allowed: [] } })
    client.send(FrameType.data, packet())
    await new Promise(setImmediate)
    expect(world.network.received).toEqual([])
    expect(world.engine.stats().drops).toEqual({ deniedDestination: 1 })
  })

  test('follows a client to another address', () => {
    const { world, client } = established()
    client.socket = world.udp.open('198.51.100.7', 40_009)
    client.send(FrameType.data, packet())
    expect(world.last('association-moved')).toMatchObject({ session: 0, to: '198.51.100.7', port: 40_009 })
  })
})

describe('a successor', () => {
  function takeOver(world: World, snapshot: AssociationSnapshot): PlaneEvent[] {
    world.start()
    return world.command(
      { type: 'install-session', session: 0, entry, isRestored: true },
      { type: 'set-carrier', session: 0, carrier: Carrier.datagram },
      { type: 'install-association', session: 0, snapshot, address: '198.51.100.7', port: 40_000 },
    )
  }

  test('goes on with associations, numbers and counts where the one before has stopped', () => {
    const { world, client } = established()
    for (let n = 0; n < 3; n++) client.send(FrameType.data, packet())
    const payload = Uint8Array.of(1)
    world.command({ type: 'send-control-frame', session: 0, frameType: FrameType.dpdResponse, payload })
    client.take()
    expect(takeOver(world, world.last('association-established').snapshot!)).toEqual([])
    expect(client.send(FrameType.dpdRequest, payload)).toMatchObject([{ type: 'control-frame', session: 0 }])
    world.command({ type: 'send-control-frame', session: 0, frameType: FrameType.dpdResponse, payload })
    // A record with a number that was used before would be dropped.
    expect(client.take()).toHaveLength(1)
    expect(trafficOf(world.totals, 0, Carrier.datagram).packetsReceived).toBe(3)
  })

  test('revives nothing that had ended', () => {
    const { world, client } = established()
    const { association, snapshot } = world.last('association-established')
    world.command({ type: 'close-association', session: 0, association })
    expect(takeOver(world, snapshot!)).toEqual([{ type: 'association-closed', session: 0, association, loss: 'error' }])
    expect(client.send(FrameType.data, packet())).toEqual([])
  })
})
