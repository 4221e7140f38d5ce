// Servers of a corporate network in one userspace stack that answers for every address, and what joins devices to it.

import { cutPackets, PacketBatch, Verdict } from '@twinbore/core/packet'
import { seededRandom } from '@twinbore/core/runtime'
import type { PacketDevice } from '@twinbore/tun'
import { FlowDuplex, StackHost } from '@twinbore/tun/io'
import { NetStack, type NetStackEndpoint } from '@twinbore/tun/netstack'
import { type Answer, decode, encode, type Packet, TRUNCATED_RESPONSE } from 'dns-packet'

export interface StackEnds {
  readonly source: NetStackEndpoint
  readonly destination: NetStackEndpoint
}

/** What becomes of a question: the answer's members, or its bytes, or nothing. */
export type DnsReply = Partial<Packet> | Uint8Array | readonly Uint8Array[] | undefined

export class StackServers {
  readonly host: StackHost
  readonly device: PacketDevice
  /** By `address:port`, `[address]:port` or only `port`; who isn't listed refuses. */
  readonly tcp = new Map<string, (socket: FlowDuplex, ends: StackEnds) => void>()
  /** Destinations that swallow every SYN. */
  readonly dark = new Set<string>()
  /** Answers questions of port 53, whatever the server. */
  onQuestion: (question: Packet, from: StackEnds, transport: 'udp' | 'tcp') => DnsReply = () => ({ flags: 3 })
  /** Every question so far: server, name and type, and the port and id that it came from. */
  readonly questions: { server: string; name: string; type: string; port: number; id: number; transport: string }[] = []
  /** Every connection that was asked for, in order. */
  readonly dialled: string[] = []
  private readonly ends = new Map<number, StackEnds>()

  constructor(options: { readonly addresses?: readonly string[] } = {}) {
    const stack = new NetStack({ random: seededRandom(9), acceptAnyDestination: true, mtu: 1500, ...options })
    this.host = new StackHost(stack, {
      mtu: 1500,
      onOutput: output => {
        if (output.type === 'flow-requested') this.handleRequest(output)
        if (output.type === 'datagram') this.handleDatagram(output.flow, output.remote, output.bytes)
      },
    })
    this.device = this.host.device
    this.tcp.set('53', (socket, ends) => this.serveNames(socket, ends))
  }

  close(): void {
    this.host.close(new Error('the test is over'))
  }

  private handleRequest({ flow, protocol, source, destination }: StackEnds & { flow: number; protocol: string }): void {
    const { host } = this
    const now = host.now()
    const ends = { source, destination }
    if (protocol === 'udp') {
      host.stack.accept(flow, now)
      this.ends.set(flow, ends)
      host.touch()
      return
    }
    this.dialled.push(destination.address)
    if (this.dark.has(destination.address)) {
      host.stack.refuse(flow, 'silent', now)
      return
    }
    const { address, port } = destination
    const where = address.includes(':') ? `[${address}]` : address
    const serve = this.tcp.get(`${where}:${port}`) ?? this.tcp.get(String(port))
    if (!serve) {
      host.stack.refuse(flow, 'reset', now)
      return
    }
    host.stack.accept(flow, now)
    const socket = new FlowDuplex(host, { flow, allowHalfOpen: true })
    socket.on('error', () => {})
    serve(socket, ends)
  }

  private handleDatagram(flow: number, remote: NetStackEndpoint, bytes: Uint8Array): void {
    const { source } = this.ends.get(flow)!
    if (remote.port !== 53) {
      this.send(flow, remote, bytes)
      return
    }
    const question = decode(Buffer.from(bytes))
    const reply = this.answer(question, { source, destination: remote }, 'udp')
    for (const answer of reply) this.send(flow, remote, answer)
  }

  private send(flow: number, from: NetStackEndpoint, bytes: Uint8Array): void {
    this.host.stack.sendDatagram(flow, from, bytes, this.host.now())
    this.host.touch()
  }

  private serveNames(socket: FlowDuplex, ends: StackEnds): void {
    let received = Buffer.alloc(0)
    socket.on('data', part => {
      received = Buffer.concat([received, part])
      if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) return
      for (const answer of this.answer(decode(received.subarray(2)), ends, 'tcp')) {
        const length = Buffer.alloc(2)
        length.writeUInt16BE(answer.length)
        // In pieces, as a stream may bring them.
        socket.write(length.subarray(0, 1))
        socket.write(Buffer.concat([length.subarray(1), answer]))
      }
      socket.end()
    })
  }

  private answer(question: Packet, ends: StackEnds, transport: 'udp' | 'tcp'): readonly Uint8Array[] {
    const { name, type } = question.questions![0]!
    const { destination, source } = ends
    this.questions.push({ server: destination.address, name, type, port: source.port, id: question.id!, transport })
    const reply = this.onQuestion(question, ends, transport)
    if (!reply) return []
    if (Array.isArray(reply)) return reply as readonly Uint8Array[]
    return [reply instanceof Uint8Array ? reply : answerTo(question, reply as Partial<Packet>)]
  }
}

/** An answer to a question, by another implementation of DNS than ours. */
export function answerTo(question: Packet, reply: Partial<Packet>): Uint8Array {
  return encode({ type: 'response', id: question.id!, questions: question.questions!, ...reply })
}

/** Answers from a table: name to addresses; a name that isn't there doesn't exist. */
export function zone(records: Readonly<Record<string, readonly string[]>>): StackServers['onQuestion'] {
  return question => {
    const { name, type } = question.questions![0]!
    const found = records[name.toLowerCase()]
    if (!found) return { flags: 3 }
    const wanted = found.filter(address => address.includes(':') === (type === 'AAAA'))
    return { answers: wanted.map(data => ({ type, name, ttl: 60, class: 'IN', data }) as Answer) }
  }
}

export const truncated: Partial<Packet> = { flags: TRUNCATED_RESPONSE }

/** Carries packets between two devices, except those that `passes` refuses. */
export function joinDevices(
  one: PacketDevice,
  other: PacketDevice,
  passes: (packet: Uint8Array) => boolean = () => true,
): void {
  for (const [from, to] of [
    [one, other],
    [other, one],
  ] as const) {
    const batch = new PacketBatch({ capacity: 64, slotBytes: 2048 })
    from.onReadable = () => {
      batch.reset()
      from.read(batch)
      for (let slot = 0; slot < batch.count; slot++) {
        if (!cutPackets(batch, slot).every(passes)) batch.verdicts[slot] = Verdict.drop
      }
      to.write(batch)
    }
  }
}
