import {
  type ActiveChannel,
  type ChannelKind,
  type CloseReason,
  type DatagramLoss,
  type FailoverReason,
  GatewaySession,
  type SessionOutput,
  type TunnelParameters,
} from '@twinbore/core'
import { type Driver, drive, type EstablishedStream, StreamChannel } from '@twinbore/core/io'
import type { Clock, Milliseconds } from '@twinbore/core/runtime'
import type { GatewayDataPlane } from '../../data-plane/gateway-data-plane.ts'
import { Carrier, type SessionTable, type Traffic } from '../../data-plane/session-table.ts'
import type { DatagramPath } from '../../data-plane/tunnel-side.ts'

/** What the live sessions of a gateway share, and whom they tell. */
export interface LiveSessionHost {
  readonly clock: Clock
  readonly sessions: SessionTable
  readonly plane: GatewayDataPlane
  readonly path: DatagramPath | undefined
  /** Traffic was counted in the session table: tells the sessions. */
  noteActivity(now: Milliseconds): void
  closeAssociation(association: number): void
  handleChannelChange(session: LiveSession, change: ChannelChange): void
  /** The session has no stream any more, and may get another. */
  handleStreamLoss(session: LiveSession): void
  handleClosed(session: LiveSession, reason: CloseReason, text: string): void
}

export interface ChannelChange {
  readonly from: ActiveChannel
  readonly to: ActiveChannel
  readonly reason: FailoverReason
}

const carrierOf = { none: Carrier.none, stream: Carrier.stream, datagram: Carrier.datagram } as const

/** One session at work: its machine, its stream channel, its place in the data plane. */
export class LiveSession {
  /** Its number in the data plane. */
  readonly index: number
  private readonly host: LiveSessionHost
  private readonly machine: GatewaySession
  private readonly driver: Driver
  private stream: StreamChannel | undefined

  constructor(host: LiveSessionHost, index: number, parameters: TunnelParameters) {
    this.host = host
    this.index = index
    this.machine = new GatewaySession(parameters, {}, host.clock.now())
    this.driver = drive(this.machine, {
      clock: host.clock,
      onOutput: (output, now) => this.handleOutput(output, now),
    })
  }

  get activeChannel(): ActiveChannel {
    return this.machine.activeChannel
  }

  get hasStream(): boolean {
    return this.stream !== undefined
  }

  /** A stream after CONNECT takes the place of the one before. */
  attachStream({ socket, head }: EstablishedStream, parameters: TunnelParameters): void {
    this.stream?.destroy()
    const stream = new StreamChannel(
      socket,
      {
        onPackets: batch => {
          const now = this.host.clock.now()
          this.host.plane.handleStreamPackets(batch, now)
          this.host.noteActivity(now)
        },
        onControl: (type, payload) => this.driver.input(now => this.machine.handleStreamFrame(type, payload, now)),
        onClosed: loss => {
          if (this.stream !== stream) return
          this.stream = undefined
          this.host.handleStreamLoss(this)
          this.driver.input(now => this.machine.streamClosed(loss, now))
        },
      },
      { batch: this.host.plane.fromStreams, owner: this.index },
    )
    this.stream = stream
    this.driver.input(now => this.machine.streamAttached(parameters, now))
    stream.start(head)
  }

  /** A DTLS association with this session's App-ID is established; it takes the place of the one before. */
  attachAssociation(association: number, maxPayload: number): void {
    const { sessions } = this.host
    const previous = sessions.associations[this.index]!
    sessions.setAssociation(this.index, association)
    this.driver.input(now => this.machine.datagramOpened(maxPayload, now))
    if (previous !== -1) this.host.closeAssociation(previous)
  }

  /** Its association is gone. */
  detachAssociation(loss: DatagramLoss): void {
    this.host.sessions.setAssociation(this.index, -1)
    this.driver.input(now => this.machine.datagramClosed(loss, now))
  }

  sendOnStream(bytes: Uint8Array, offset: number, length: number): void {
    this.stream?.sendPacket(bytes, offset, length)
  }

  handleDatagramFrame(type: number, payload: Uint8Array, now: Milliseconds): void {
    this.machine.handleDatagramFrame(type, payload, now)
    this.driver.settle()
  }

  handleMessageTooBig(payloadBytes: number): void {
    this.driver.input(now => this.machine.handleMessageTooBig(payloadBytes, now))
  }

  noteTraffic(channel: ChannelKind, traffic: Traffic, now: Milliseconds): void {
    this.machine.noteReceived(channel, traffic.packetsReceived, traffic.bytesReceived, now)
    this.machine.noteSent(channel, traffic.packetsSent, traffic.bytesSent, now)
    this.driver.settle()
  }

  /** Ends the session. `handleClosed` of the host follows: at once, or after the output that this is called from. */
  disconnect(reason: CloseReason): void {
    this.driver.input(now => this.machine.disconnect(reason, now))
  }

  private handleOutput(output: SessionOutput, now: Milliseconds): void {
    const { sessions, plane, path } = this.host
    switch (output.type) {
      case 'frame': {
        if (output.channel === 'stream') this.stream?.sendFrame(output.frameType, output.payload)
        else if (path) {
          const association = sessions.associations[this.index]!
          if (association !== -1)
            plane.tunnels.sendControlFrame(association, output.frameType, output.payload, path, now)
        }
        break
      }
      case 'channel-changed':
        sessions.carriers[this.index] = carrierOf[output.to]
        this.host.handleChannelChange(this, output)
        break
      case 'mtu-changed':
        sessions.mtus[this.index] = output.mtu
        break
      case 'close-stream':
        this.stream?.end()
        this.stream = undefined
        if (!this.machine.closed) this.host.handleStreamLoss(this)
        break
      case 'close-datagram': {
        const association = sessions.associations[this.index]!
        sessions.setAssociation(this.index, -1)
        if (association !== -1) this.host.closeAssociation(association)
        break
      }
      case 'closed':
        this.driver.stop()
        this.host.handleClosed(this, output.reason, output.text)
        break
    }
  }
}
