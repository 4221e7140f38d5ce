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
import { type Driver, drive, type EstablishedStream } from '@twinbore/core/io'
import type { Clock } from '@twinbore/core/runtime'
import type { Activity } from '../../data-plane/activity.ts'
import type { DataPlane } from '../../data-plane/data-plane.ts'
import { Carrier } from '../../data-plane/session-table.ts'
import type { OpenStream, SessionStream } from '../session-stream.ts'

/** What the live sessions of a gateway share, and whom they tell. */
export interface LiveSessionHost {
  readonly clock: Clock
  readonly plane: DataPlane
  readonly openStream: OpenStream
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
const channelOf = (carrier: Carrier): ChannelKind => (carrier === Carrier.stream ? 'stream' : 'datagram')

/** One session at work: its machine, its stream channel, and what the data plane has been told of it. */
export class LiveSession {
  /** Its number in the data plane. */
  readonly index: number
  /** The longest packet towards the client. */
  mtu: number
  private readonly host: LiveSessionHost
  private readonly machine: GatewaySession
  private readonly driver: Driver
  private stream: SessionStream | undefined
  /** Its association, or -1. */
  private association = -1

  constructor(host: LiveSessionHost, index: number, parameters: TunnelParameters) {
    this.host = host
    this.index = index
    this.mtu = parameters.mtu
    this.machine = new GatewaySession(parameters, {}, host.clock.now())
    this.driver = drive(this.machine, {
      clock: host.clock,
      onOutput: output => this.handleOutput(output),
    })
  }

  get activeChannel(): ActiveChannel {
    return this.machine.activeChannel
  }

  get carrier(): Carrier {
    return carrierOf[this.machine.activeChannel]
  }

  get hasStream(): boolean {
    return this.stream !== undefined
  }

  /** A stream after CONNECT takes the place of the one before. */
  attachStream(established: EstablishedStream, parameters: TunnelParameters): void {
    const { plane, openStream } = this.host
    this.stream?.destroy()
    const stream = openStream(
      established,
      {
        onPackets: batch => plane.handleStreamPackets(batch),
        onControl: (type, payload) => this.driver.input(now => this.machine.handleStreamFrame(type, payload, now)),
        onClosed: loss => {
          if (this.stream !== stream) return
          this.stream = undefined
          this.host.handleStreamLoss(this)
          this.driver.input(now => this.machine.streamClosed(loss, now))
        },
      },
      { batch: plane.fromStreams, owner: this.index },
    )
    this.stream = stream
    this.driver.input(now => this.machine.streamAttached(parameters, now))
    stream.start(established.head)
  }

  /** A DTLS association of this session is established; it takes the place of the one before. */
  attachAssociation(association: number, maxPayload: number): void {
    this.association = association
    this.driver.input(now => this.machine.datagramOpened(maxPayload, now))
  }

  /** An association is gone; one that is not the newest matters to nobody. */
  detachAssociation(association: number, loss: DatagramLoss): void {
    if (association !== this.association) return
    this.association = -1
    this.driver.input(now => this.machine.datagramClosed(loss, now))
  }

  sendOnStream(bytes: Uint8Array, offset: number, length: number): void {
    this.stream?.sendPacket(bytes, offset, length)
  }

  handleDatagramFrame(type: number, payload: Uint8Array): void {
    this.driver.input(now => this.machine.handleDatagramFrame(type, payload, now))
  }

  handleMessageTooBig(payloadBytes: number): void {
    this.driver.input(now => this.machine.handleMessageTooBig(payloadBytes, now))
  }

  /** What passed on one channel, in the order in which it counts: an answer comes after what it answers. */
  noteActivity({ carrier, ...activity }: Activity): void {
    const channel = channelOf(carrier)
    const { packetsSent, bytesSent, packetsReceived, bytesReceived, sentAt, receivedAt } = activity
    const isAnswered = sentAt < receivedAt
    if (isAnswered) this.machine.noteSent(channel, packetsSent, bytesSent, sentAt)
    this.machine.noteReceived(channel, packetsReceived, bytesReceived, receivedAt)
    if (!isAnswered) this.machine.noteSent(channel, packetsSent, bytesSent, sentAt)
    this.driver.settle()
  }

  /** Ends the session. `handleClosed` of the host follows: at once, or after the output that this is called from. */
  disconnect(reason: CloseReason): void {
    this.driver.input(now => this.machine.disconnect(reason, now))
  }

  private handleOutput(output: SessionOutput): void {
    const { index: session } = this
    const { plane } = this.host
    switch (output.type) {
      case 'frame': {
        const { channel, frameType, payload } = output
        if (channel === 'stream') this.stream?.sendFrame(frameType, payload)
        else plane.command({ type: 'send-control-frame', session, frameType, payload })
        break
      }
      case 'channel-changed':
        plane.command({ type: 'set-carrier', session, carrier: carrierOf[output.to] })
        this.host.handleChannelChange(this, output)
        break
      case 'mtu-changed':
        this.mtu = output.mtu
        plane.command({ type: 'set-mtu', session, mtu: output.mtu })
        break
      case 'close-stream':
        this.stream?.end()
        this.stream = undefined
        if (!this.machine.closed) this.host.handleStreamLoss(this)
        break
      case 'close-datagram': {
        const { association } = this
        this.association = -1
        if (association !== -1) plane.command({ type: 'close-association', session, association })
        break
      }
      case 'closed':
        this.driver.stop()
        this.host.handleClosed(this, output.reason, output.text)
        break
    }
  }
}
