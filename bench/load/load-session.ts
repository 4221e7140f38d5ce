// One session of the load generator: logged in, both channels open, its datagram channel carrying numbered UDP packets that come
// back from an echo beyond the gateway. As a stock client does, it answers probes and sends each datagram by itself.
import type { TLSSocket } from 'node:tls'
import { ClientReason, FrameType, wrapDatagramFrames } from '@twinbore/core'
import { PacketBatch, Verdict } from '@twinbore/core/packet'
import { udpPacket } from '@twinbore/core/testing'
import { DtlsAssociation } from '@twinbore/dtls'
import { nodeRandom, systemCrypto } from '@twinbore/dtls/io'
import type { DatagramSocket } from '@twinbore/tun'
import { openDatagramSocket } from '@twinbore/tun/io'
import { type LoadAccount, openLoadTunnel } from './load-login.ts'

/** Where the echo is. */
export interface EchoAddress {
  readonly address: string
  readonly port: number
}

const ipHeaderBytes = 20
const udpHeaderBytes = 8
const checksumAt = ipHeaderBytes + 6
const numberAt = ipHeaderBytes + udpHeaderBytes
const streamHeaderBytes = 8
// One of each serves all sessions: what is in them is gone before the next one's turn.
const incoming = new PacketBatch({ capacity: 64 })
const outgoing = new PacketBatch({ capacity: 64 })

/** Those whose deadlines are kept. */
const open = new Set<LoadSession>()
setInterval(() => {
  const now = performance.now()
  for (const session of open) session.handleDeadline(now)
}, 20).unref()

export class LoadSession {
  /** Called for each packet that came back, with its round trip in milliseconds. */
  onEcho: (session: LoadSession, milliseconds: number) => void = () => {}
  sent = 0
  echoed = 0
  /** Packets that were given up. */
  lost = 0
  lastEchoAt = 0
  private readonly stream: TLSSocket
  private readonly socket: DatagramSocket
  private readonly gateway: number
  private readonly association: DtlsAssociation
  private readonly packet: Uint8Array
  private readonly view: DataView
  /** The sum that the checksum of packet number 0 stands for. */
  private readonly sum: number
  private readonly sentAt = new Float64Array(0x1_0000)
  private nextNumber = 0
  private partial: Uint8Array = new Uint8Array(0)
  private established: (() => void) | undefined
  private failed: ((error: Error) => void) | undefined

  private constructor(
    stream: TLSSocket,
    socket: DatagramSocket,
    gateway: number,
    association: DtlsAssociation,
    packet: Uint8Array,
  ) {
    this.stream = stream
    this.socket = socket
    this.gateway = gateway
    this.association = association
    this.packet = packet
    this.view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength)
    this.sum = 0xffff - this.view.getUint16(checksumAt)
    socket.onReadable = () => this.receive()
    stream.on('error', () => {})
    stream.on('data', (chunk: Buffer) => this.receiveStream(chunk))
    open.add(this)
  }

  /** Packets on the way. */
  get inFlight(): number {
    return this.sent - this.echoed - this.lost
  }

  /** Logs in, opens the tunnel and its datagram channel. */
  static async open(account: LoadAccount, echo: EchoAddress, payloadBytes: number): Promise<LoadSession> {
    const { stream, parameters, pskKey } = await openLoadTunnel(account)
    const { datagram, ipv4 } = parameters
    if (!datagram || !ipv4) throw new Error('the gateway gave no datagram channel or no IPv4 address')
    const socket = await openDatagramSocket({ address: '0.0.0.0', endpoints: 4, gso: false, gro: false })
    const gateway = socket.endpoints.intern(stream.remoteAddress ?? '', datagram.port)
    socket.endpoints.retain(gateway)
    const association = new DtlsAssociation({
      role: 'client',
      crypto: systemCrypto,
      random: nodeRandom,
      psk: { identity: 'psk', key: pskKey },
      sessionId: datagram.appId,
      handshakeTimeoutMs: 20_000,
    })
    const packet = udpPacket({
      source: ipv4.address,
      sourcePort: 40_000,
      destination: echo.address,
      destinationPort: echo.port,
      payload: new Uint8Array(payloadBytes),
    })
    const session = new LoadSession(stream, socket, gateway, association, packet)
    await session.handshake()
    return session
  }

  /** Sends so many packets, 64 at most. */
  send(count: number): void {
    const now = performance.now()
    outgoing.reset()
    for (let n = 0; n < count; n++) {
      const number = this.nextNumber
      this.nextNumber = (number + 1) & 0xffff
      this.view.setUint16(numberAt, number)
      const sum = this.sum + number
      // RFC 768: a checksum of 0 would say that there is none.
      this.view.setUint16(checksumAt, (0xffff - ((sum & 0xffff) + (sum >>> 16))) & 0xffff || 0xffff)
      this.sentAt[number] = now
      outgoing.push(this.packet, this.gateway)
    }
    this.sent += count
    wrapDatagramFrames(outgoing)
    this.association.sealDatagrams(outgoing, now)
    for (let slot = 0; slot < outgoing.count; slot++) outgoing.owners[slot] = this.gateway
    this.socket.send(outgoing)
  }

  /** Forgets the packets that are on the way. */
  giveUp(): void {
    this.lost += this.inFlight
  }

  /** Starts to count anew. */
  reset(): void {
    this.sent = 0
    this.echoed = 0
    this.lost = 0
    this.sentAt.fill(0)
    this.lastEchoAt = performance.now()
  }

  handleDeadline(now: number): void {
    const { deadline } = this.association
    if (deadline === undefined || deadline > now) return
    this.association.handleDeadline(now)
    this.settle()
  }

  /** Says goodbye by both channels. */
  close(): void {
    open.delete(this)
    this.stream.end(Uint8Array.of(0x53, 0x54, 0x46, 1, 0, 1, FrameType.disconnect, 0, ClientReason.userLeft))
    this.association.close(performance.now())
    this.settle()
    this.socket.close()
  }

  private handshake(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.established = resolve
      this.failed = reject
      this.association.start(performance.now())
      this.settle()
    })
  }

  private receive(): void {
    const now = performance.now()
    do {
      incoming.reset()
      this.socket.receive(incoming)
      this.association.openDatagrams(incoming, now)
      const { bytes, offsets, lengths, verdicts } = incoming
      for (let slot = 0; slot < incoming.count; slot++) {
        if (verdicts[slot] !== Verdict.forward) continue
        const at = offsets[slot]!
        const length = lengths[slot]!
        if (bytes[at] === FrameType.data) this.takePacket(bytes, at + 1, length - 1, now)
        else if (bytes[at] === FrameType.dpdRequest) {
          const answer = bytes.slice(at, at + length)
          answer[0] = FrameType.dpdResponse
          this.association.send(answer, now)
        }
      }
    } while (!this.socket.drained)
    this.settle()
  }

  /** Frames of the stream channel: probes are answered, and a gateway may send packets there. */
  private receiveStream(chunk: Buffer): void {
    const now = performance.now()
    let bytes = Buffer.concat([this.partial, chunk])
    while (bytes.length >= streamHeaderBytes) {
      const length = streamHeaderBytes + bytes.readUInt16BE(4)
      if (bytes.length < length) break
      if (bytes[6] === FrameType.data) this.takePacket(bytes, streamHeaderBytes, length - streamHeaderBytes, now)
      else if (bytes[6] === FrameType.dpdRequest) {
        const answer = Buffer.from(bytes.subarray(0, length))
        answer[6] = FrameType.dpdResponse
        this.stream.write(answer)
      }
      bytes = bytes.subarray(length)
    }
    this.partial = bytes
  }

  private takePacket(bytes: Uint8Array, at: number, length: number, now: number): void {
    if (length < numberAt + 2) return
    const number = (bytes[at + numberAt]! << 8) | bytes[at + numberAt + 1]!
    const sentAt = this.sentAt[number]!
    // A packet that was given up, or came twice.
    if (sentAt === 0) return
    this.sentAt[number] = 0
    this.echoed += 1
    this.lastEchoAt = now
    this.onEcho(this, now - sentAt)
  }

  private settle(): void {
    for (let output = this.association.poll(); output; output = this.association.poll()) {
      if (output.type === 'transmit') this.socket.sendTo(this.gateway, output.bytes)
      else if (output.type === 'established') this.established?.()
      else if (output.type === 'closed') this.failed?.(new Error(`the datagram channel closed: ${output.reason}`))
    }
  }
}
