import {
  earliest,
  type Machine,
  type Milliseconds,
  OutputQueue,
  type Random,
  randomBelow,
} from '@twinbore/core/runtime'
import { failureOf, hasSameQuestion, isResponse, messageId, questionEnd, Rcode, withMessageId } from './dns-message.ts'

/** A name server. */
export interface Upstream {
  readonly address: string
  readonly port: number
}

export interface DnsForwarderOptions {
  /** Asked in this order, each when the one before did not answer in time; at least one. */
  readonly upstreams: readonly Upstream[]
  /** Must not be predictable: identifiers come from it. */
  readonly random: Random
  /** How long one server has for its answer. @defaultValue 2000 */
  readonly attemptMs?: Milliseconds
  /** How often a query is asked before "server failure". @defaultValue 3 */
  readonly attempts?: number
  /** Queries of one client that wait for their answers; the next one is dropped. @defaultValue 128 */
  readonly maxQueriesPerClient?: number
  /** The same for all clients. At most 32 768, so that a guess of an identifier stays a guess. @defaultValue 4096 */
  readonly maxQueries?: number
}

/** What a `DnsForwarder` wants to be done. */
export type DnsForwarderOutput =
  | { readonly type: 'query'; readonly upstream: Upstream; readonly bytes: Uint8Array }
  /** The answer to a query, by the ticket that `handleQuery` gave. */
  | { readonly type: 'answer'; readonly ticket: number; readonly bytes: Uint8Array }
  /** A query will have no answer: its client is gone. */
  | { readonly type: 'abandoned'; readonly ticket: number }

/** Counts since creation. */
export interface DnsForwarderStats {
  readonly waiting: number
  readonly queries: number
  readonly answers: number
  /** Queries that no server answered. */
  readonly failures: number
  /** Messages that were no queries, queries beyond a limit. */
  readonly dropped: number
  /** Messages from outside that answer nothing: of another server, with another identifier or question. */
  readonly unsolicited: number
}

interface Waiting {
  readonly ticket: number
  readonly client: string
  readonly query: Uint8Array
  readonly upstream: Upstream
  readonly attempt: number
  readonly until: Milliseconds
}

/**
 * Passes DNS queries of many clients on to name servers, over as few sockets as its owner likes: each query gets a random
 * identifier of its own, and an answer counts only if it comes from the server that was asked and repeats the question.
 * Messages pass as they are. One that is truncated says so to the client, who asks again over TCP.
 */
export class DnsForwarder implements Machine<DnsForwarderOutput> {
  private readonly options: Required<DnsForwarderOptions>
  private readonly outputs = new OutputQueue<DnsForwarderOutput>()
  /** By the identifier that went out. Every wait is equally long, so the oldest one is due first. */
  private readonly waiting = new Map<number, Waiting>()
  private readonly countOf = new Map<string, number>()
  private readonly counts = { queries: 0, answers: 0, failures: 0, dropped: 0, unsolicited: 0 }
  private nextTicket = 0

  constructor(options: DnsForwarderOptions) {
    if (options.upstreams.length === 0) throw new RangeError('upstreams must not be empty')
    this.options = { attemptMs: 2000, attempts: 3, maxQueriesPerClient: 128, maxQueries: 4096, ...options }
    if (this.options.maxQueries > 32_768) throw new RangeError('maxQueries must be at most 32 768')
  }

  /** Takes a query. Returns its ticket, or -1 when it is dropped. */
  handleQuery(client: string, query: Uint8Array, now: Milliseconds): number {
    const count = this.countOf.get(client) ?? 0
    const { maxQueries, maxQueriesPerClient } = this.options
    if (
      questionEnd(query) === undefined ||
      isResponse(query) ||
      count >= maxQueriesPerClient ||
      this.waiting.size >= maxQueries
    ) {
      this.counts.dropped++
      return -1
    }
    const ticket = this.nextTicket++
    this.counts.queries++
    this.countOf.set(client, count + 1)
    this.ask({ ticket, client, query, attempt: 0 }, now)
    return ticket
  }

  /** Takes a message from outside. */
  handleAnswer(from: Upstream, answer: Uint8Array, _now: Milliseconds): void {
    const id = answer.length < 12 ? -1 : messageId(answer)
    const asked = this.waiting.get(id)
    if (
      !asked ||
      asked.upstream.address !== from.address ||
      asked.upstream.port !== from.port ||
      !isResponse(answer) ||
      !hasSameQuestion(asked.query, answer)
    ) {
      this.counts.unsolicited++
      return
    }
    this.counts.answers++
    this.settle(id, asked)
    this.answer(asked, withMessageId(answer, messageId(asked.query)))
  }

  /** Forgets the queries of a client. */
  removeClient(client: string): void {
    if (!this.countOf.has(client)) return
    for (const [id, asked] of this.waiting) {
      if (asked.client !== client) continue
      this.settle(id, asked)
      this.outputs.push({ type: 'abandoned', ticket: asked.ticket })
    }
  }

  get deadline(): Milliseconds | undefined {
    const [first] = this.waiting.values()
    return earliest(first?.until)
  }

  handleDeadline(now: Milliseconds): void {
    for (const [id, asked] of this.waiting) {
      if (asked.until > now) return
      this.waiting.delete(id)
      if (asked.attempt + 1 < this.options.attempts) {
        this.ask({ ...asked, attempt: asked.attempt + 1 }, now)
        continue
      }
      this.counts.failures++
      this.leave(asked.client)
      this.answer(asked, failureOf(asked.query, Rcode.serverFailure))
    }
  }

  poll(): DnsForwarderOutput | undefined {
    return this.outputs.take()
  }

  stats(): DnsForwarderStats {
    return { waiting: this.waiting.size, ...this.counts }
  }

  private ask(asked: Omit<Waiting, 'upstream' | 'until'>, now: Milliseconds): void {
    const { upstreams, random, attemptMs } = this.options
    const upstream = upstreams[asked.attempt % upstreams.length]!
    let id = randomBelow(random, 0x1_0000)
    while (this.waiting.has(id)) id = randomBelow(random, 0x1_0000)
    this.waiting.set(id, { ...asked, upstream, until: now + attemptMs })
    this.outputs.push({ type: 'query', upstream, bytes: withMessageId(asked.query, id) })
  }

  private answer({ ticket }: Waiting, bytes: Uint8Array): void {
    this.outputs.push({ type: 'answer', ticket, bytes })
  }

  private settle(id: number, { client }: Waiting): void {
    this.waiting.delete(id)
    this.leave(client)
  }

  private leave(client: string): void {
    const count = this.countOf.get(client)! - 1
    if (count > 0) this.countOf.set(client, count)
    else this.countOf.delete(client)
  }
}
