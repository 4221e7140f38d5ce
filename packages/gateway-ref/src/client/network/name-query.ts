// One name, one type of record, asked until somebody answers.
//
//   start -> ask a server by datagram --answer--------------------------> closed
//               |   \--truncated--> ask the same server by stream --answer--^
//               \--silence, refusal, failure--> the next server, and round again
//
// Every attempt has a port of its own, and an id that is drawn anew, so that who can't read our packets has to guess both
// (RFC 5452 §9.2). An attempt stays open after the next has begun: a late answer is an answer.
import type { IpAddress } from '@twinbore/core/address'
import { type Machine, type Milliseconds, OutputQueue, type Random } from '@twinbore/core/runtime'
import { type AddressRecord, DnsStatus, decodeAnswer, encodeQuestion } from './dns-message.ts'

/** Why a name has no addresses. The codes are those of `node:dns`. */
export type NameFailure =
  /** There is no such name. */
  | 'ENOTFOUND'
  /** The name is there, but has no record of the type. */
  | 'ENODATA'
  /** No server knew. */
  | 'ESERVFAIL'
  /** No server would say. */
  | 'EREFUSED'
  /** No server answered in time. */
  | 'ETIMEOUT'
  /** Not a name that can be asked for. */
  | 'EBADNAME'

export interface NameQueryOptions {
  readonly name: string
  readonly type: AddressRecord
  /** In the order in which they are asked; at least one. */
  readonly servers: readonly IpAddress[]
  readonly random: Random
  /** How long each server has, in milliseconds. It doubles with each round. @defaultValue 1500 */
  readonly timeoutMs?: number
  /** How many times each server is asked. @defaultValue 2 */
  readonly rounds?: number
}

export type NameQueryOutput =
  /** Send `bytes` from a port of its own to port 53 of `server`; give what comes back to `handleDatagram`. */
  | { readonly type: 'ask'; readonly attempt: number; readonly server: IpAddress; readonly bytes: Uint8Array }
  /** Send `bytes` over a TCP connection to port 53 of `server` (RFC 7766), and give the answer to `handleStreamAnswer`. */
  | { readonly type: 'ask-by-stream'; readonly attempt: number; readonly server: IpAddress; readonly bytes: Uint8Array }
  | { readonly type: 'answered'; readonly addresses: readonly IpAddress[]; readonly ttlSeconds: number }
  | { readonly type: 'failed'; readonly reason: NameFailure }

interface Attempt {
  readonly id: number
  readonly server: IpAddress
  readonly isStream: boolean
  readonly hasEdns: boolean
  isOver: boolean
}

/** See the top of the file. `answered` or `failed` is the last output. */
export class NameQuery implements Machine<NameQueryOutput> {
  deadline: Milliseconds | undefined = undefined
  /** Datagrams that came and were no answer to the question. */
  ignored = 0
  private readonly options: NameQueryOptions
  private readonly outputs = new OutputQueue<NameQueryOutput>()
  private readonly attempts: Attempt[] = []
  /** Servers still to be asked, in rounds. */
  private turn = 0
  private worst: NameFailure = 'ETIMEOUT'
  private isClosed = false

  constructor(options: NameQueryOptions) {
    if (options.servers.length === 0) throw new RangeError('servers must name at least one')
    this.options = options
  }

  start(now: Milliseconds): void {
    if (!encodeQuestion(0, this.options.name, this.options.type, true)) this.fail('EBADNAME')
    else this.askNext(now)
  }

  poll(): NameQueryOutput | undefined {
    return this.outputs.take()
  }

  /** Takes a datagram that came to the port of an attempt. */
  handleDatagram(
    attempt: number,
    from: { readonly address: string; readonly port: number },
    bytes: Uint8Array,
    now: Milliseconds,
  ): void {
    const known = this.attempts[attempt]!
    if (from.port !== 53 || from.address !== known.server.toString()) this.ignored++
    else this.take(attempt, bytes, now)
  }

  /** Takes the answer of a stream, without its length. */
  handleStreamAnswer(attempt: number, bytes: Uint8Array, now: Milliseconds): void {
    this.take(attempt, bytes, now)
    // A stream has no other answer to wait for.
    this.handleUnreachable(attempt, now)
  }

  /** The server of an attempt can't be reached. */
  handleUnreachable(attempt: number, now: Milliseconds): void {
    const known = this.attempts[attempt]!
    if (this.isClosed || known.isOver) return
    known.isOver = true
    if (attempt === this.attempts.length - 1) this.askNext(now)
  }

  handleDeadline(now: Milliseconds): void {
    if (this.deadline !== undefined && now >= this.deadline) this.askNext(now)
  }

  private take(attempt: number, bytes: Uint8Array, now: Milliseconds): void {
    const known = this.attempts[attempt]!
    if (this.isClosed || known.isOver) return
    const { name, type } = this.options
    const answer = decodeAnswer(bytes, known.id, name, type)
    if (!answer) {
      this.ignored++
      return
    }
    if (answer.isTruncated && !known.isStream) {
      known.isOver = true
      this.ask(known.server, true, known.hasEdns, now)
      return
    }
    const { status, addresses, ttlSeconds } = answer
    if (status === DnsStatus.ok) {
      if (addresses.length > 0) this.close({ type: 'answered', addresses, ttlSeconds })
      else this.fail('ENODATA')
    } else if (status === DnsStatus.nameError) {
      this.fail('ENOTFOUND')
    } else if (status === DnsStatus.formatError && known.hasEdns) {
      // A server from before 1999 (RFC 6891 §7).
      known.isOver = true
      this.ask(known.server, known.isStream, false, now)
    } else {
      if (this.worst !== 'EREFUSED') this.worst = status === refused ? 'EREFUSED' : 'ESERVFAIL'
      this.handleUnreachable(attempt, now)
    }
  }

  private askNext(now: Milliseconds): void {
    const { servers, rounds = 2 } = this.options
    if (this.turn >= servers.length * rounds) {
      this.fail(this.worst)
      return
    }
    this.ask(servers[this.turn++ % servers.length]!, false, true, now)
  }

  private ask(server: IpAddress, isStream: boolean, hasEdns: boolean, now: Milliseconds): void {
    const { name, type, random, servers, timeoutMs = 1500 } = this.options
    const id = random.uint32() & 0xffff
    const bytes = encodeQuestion(id, name, type, hasEdns)!
    const attempt = this.attempts.push({ id, server, isStream, hasEdns, isOver: false }) - 1
    const round = Math.floor((this.turn - 1) / servers.length)
    this.deadline = now + timeoutMs * 2 ** round
    this.outputs.push({ type: isStream ? 'ask-by-stream' : 'ask', attempt, server, bytes })
  }

  private fail(reason: NameFailure): void {
    this.close({ type: 'failed', reason })
  }

  private close(output: NameQueryOutput): void {
    this.isClosed = true
    this.deadline = undefined
    this.outputs.push(output)
  }
}

const refused = 5
