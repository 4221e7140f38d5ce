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
import type { AssociationSnapshot } from '@twinbore/dtls'
import type { Activity } from '../../data-plane/activity.ts'
import type { PlaneCommand } from '../../data-plane/commands.ts'
import type { DataPlane } from '../../data-plane/data-plane.ts'
import type { PlaneEvent } from '../../data-plane/events.ts'
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

/** The association of a session, and what a new data plane needs to go on with it. */
interface OwnAssociation {
  readonly number: number
  readonly snapshot: AssociationSnapshot | undefined
  address: string
  port: number
}

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
  private association: OwnAssociation | undefined

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
  attachAssociation(event: PlaneEvent & { readonly type: 'association-established' }, maxPayload: number): void {
    const { association: number, snapshot, address, port } = event
    this.association = { number, snapshot, address, port }
    this.driver.input(now => this.machine.datagramOpened(maxPayload, now))
  }

  /** An association is gone; one that is not the newest matters to nobody. */
  detachAssociation(association: number, loss: DatagramLoss): void {
    if (association !== this.association?.number) return
    this.association = undefined
    this.driver.input(now => this.machine.datagramClosed(loss, now))
  }

  /** Its peer is heard from another address. */
  moveAssociation(association: number, address: string, port: number): void {
    if (association === this.association?.number) Object.assign(this.association, { address, port })
  }

  /** What a new data plane must be told of the session, but for its addresses and its App-ID. */
  *restore(): Iterable<PlaneCommand> {
    const { index: session, association } = this
    yield { type: 'set-carrier', session, carrier: carrierOf[this.machine.activeChannel] }
    if (!association) return
    const { number, snapshot, address, port } = association
    if (snapshot) yield { type: 'install-association', session, snapshot, address, port }
    else this.detachAssociation(number, 'error')
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

  /** Nothing more comes of it, and nobody is told. */
  discard(): void {
    this.driver.stop()
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
        this.association = undefined
        if (association) plane.command({ type: 'close-association', session, association: association.number })
        break
      }
      case 'closed':
        this.driver.stop()
        this.host.handleClosed(this, output.reason, output.text)
        break
    }
  }
}
