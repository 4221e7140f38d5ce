import { type Driver, drive } from '@twinbore/core/io'
import type { PacketBatch } from '@twinbore/core/packet'
import type { Clock, Random } from '@twinbore/core/runtime'
import type { CryptoProvider } from '@twinbore/dtls'
import type { DatagramSocket, PacketDevice } from '@twinbore/tun'
import type { PlaneCommand } from '../commands.ts'
import type { DataPlane, DataPlaneHost } from '../data-plane.ts'
import { DataPlaneEngine, type PlaneSettings, type PlaneStats } from '../engine.ts'
import { type Carrier, type Traffic, trafficCells, trafficOf } from '../session-table.ts'

export interface LoopDriverHands {
  readonly host: DataPlaneHost
  readonly device: PacketDevice
  readonly socket: DatagramSocket | undefined
  readonly crypto: CryptoProvider
  readonly random: Random
  readonly clock: Clock
}

/** So many batches a source may have in a row before others get their turn. */
const BATCHES_PER_TURN = 8

/** A data plane on the event loop of this thread: what is readable is pumped, and events are told before that returns. */
export class LoopDriver implements DataPlane {
  readonly driver: 'loop' | 'portable'
  readonly workers = 0
  readonly fromStreams: PacketBatch
  readonly restarts = 0
  readonly lastRestart = undefined
  private readonly engine: DataPlaneEngine
  private readonly machine: Driver
  private readonly hands: LoopDriverHands
  private readonly totals: Float64Array
  private socketWaits = false
  private deviceWaits = false
  private isPumping = false

  constructor(settings: PlaneSettings, hands: LoopDriverHands, driver: 'loop' | 'portable') {
    const { host, device, socket, crypto, random, clock } = hands
    this.driver = driver
    this.hands = hands
    this.totals = new Float64Array(trafficCells(settings.capacity))
    this.engine = new DataPlaneEngine(settings, {
      device,
      socket,
      crypto,
      random,
      totals: this.totals,
      sendOnStream: (session, bytes, offset, length) => host.sendOnStream(session, bytes, offset, length),
    })
    this.fromStreams = this.engine.fromStreams
    this.machine = drive(this.engine, { clock, onOutput: (event, now) => host.handleEvent(event, now) })
    if (socket) {
      socket.onReadable = () => {
        this.socketWaits = true
        this.pump()
      }
    }
    device.onReadable = () => {
      this.deviceWaits = true
      this.pump()
    }
  }

  command(command: PlaneCommand): void {
    this.machine.input(now => this.engine.handleCommand(command, now))
  }

  handleStreamPackets(batch: PacketBatch): void {
    this.machine.input(now => this.engine.handleStreamPackets(batch, now))
  }

  traffic(session: number, carrier: Carrier): Traffic {
    return trafficOf(this.totals, session, carrier)
  }

  stats(): PlaneStats {
    return this.engine.stats()
  }

  /** What is pumped may make the other side readable at once: its turn comes when the events of this one are told. */
  private pump(): void {
    if (this.isPumping) return
    this.isPumping = true
    try {
      while (this.socketWaits || this.deviceWaits) {
        if (this.socketWaits) {
          this.socketWaits = false
          this.machine.input(now => void this.engine.pumpSocket(BATCHES_PER_TURN, now))
        } else {
          this.deviceWaits = false
          this.machine.input(now => void this.engine.pumpDevice(BATCHES_PER_TURN, now))
        }
      }
    } finally {
      this.isPumping = false
    }
  }

  async stop(): Promise<void> {
    this.machine.stop()
    const { device, socket } = this.hands
    device.onReadable = undefined
    if (socket) socket.onReadable = undefined
  }
}
