import type { Milliseconds } from '../runtime/time.ts'
import { addressKey } from './address-key.ts'
import type { CredentialsCheck, LoginMethod, PeerCertificate } from './credentials.ts'

/** One unfinished login: from the first check until its cookie, its refusal, or its time limit. */
export interface PendingLogin {
  readonly id: number
  readonly addressKey: string
  readonly remoteAddress: string
  readonly userAgent: string | undefined
  readonly expiresAt: Milliseconds
  /**
   * - `checking`: the shell looks at the credentials; only its answer, the end of the connection and the time limit count.
   * - `form`: the main form was given (again); the client's answer moves on to `checking`.
   * - `challenge`: the second form was given; likewise.
   * - `granting`: accepted; the shell makes the session.
   */
  stage: 'checking' | 'form' | 'challenge' | 'granting'
  step: CredentialsCheck['step']
  tokenVia: CredentialsCheck['tokenVia']
  /** The request that waits for a reply. Undefined between requests, and after the connection has gone. */
  exchange: number | undefined
  /** The value of the login cookie, once the client needs one. */
  handle: string | undefined
  method: LoginMethod
  username: string
  group: string | undefined
  certificate: PeerCertificate | undefined
  tries: number
  challenge: { readonly message: string; readonly label: string; readonly state: unknown } | undefined
}

/**
 * The unfinished logins of a gateway, bounded in number, by address and in time. All have the same time limit, so the
 * oldest is always the next to expire.
 */
export class PendingLogins {
  private readonly maxPending: number
  private readonly maxPerAddress: number
  private readonly byId = new Map<number, PendingLogin>()
  private readonly byHandle = new Map<string, PendingLogin>()
  private readonly byExchange = new Map<number, PendingLogin>()
  private readonly byAddress = new Map<string, Set<PendingLogin>>()
  private nextId = 1

  constructor(maxPending: number, maxPerAddress: number) {
    this.maxPending = maxPending
    this.maxPerAddress = maxPerAddress
  }

  get size(): number {
    return this.byId.size
  }

  get(id: number): PendingLogin | undefined {
    return this.byId.get(id)
  }

  withHandle(handle: string): PendingLogin | undefined {
    return this.byHandle.get(handle)
  }

  /** The login whose request waits for a reply there. */
  ofExchange(exchange: number): PendingLogin | undefined {
    return this.byExchange.get(exchange)
  }

  get oldest(): PendingLogin | undefined {
    for (const login of this.byId.values()) return login
    return undefined
  }

  /**
   * Adds a login. At the limit of its address the oldest one there that waits for its client gives way; undefined when
   * none does, or when the limit of all is reached.
   */
  add(fields: Omit<PendingLogin, 'id' | 'addressKey' | 'handle' | 'tries' | 'challenge'>): PendingLogin | undefined {
    const key = addressKey(fields.remoteAddress)
    const neighbours = this.byAddress.get(key)
    if (neighbours && neighbours.size >= this.maxPerAddress) {
      const waiting = [...neighbours].find(login => login.exchange === undefined)
      if (!waiting) return undefined
      this.remove(waiting)
    }
    if (this.byId.size >= this.maxPending) return undefined
    const login: PendingLogin = {
      ...fields,
      id: this.nextId++,
      addressKey: key,
      handle: undefined,
      tries: 0,
      challenge: undefined,
    }
    this.byId.set(login.id, login)
    const set = this.byAddress.get(key)
    if (set) set.add(login)
    else this.byAddress.set(key, new Set([login]))
    if (fields.exchange !== undefined) this.byExchange.set(fields.exchange, login)
    return login
  }

  setExchange(login: PendingLogin, exchange: number | undefined): void {
    if (login.exchange !== undefined) this.byExchange.delete(login.exchange)
    login.exchange = exchange
    if (exchange !== undefined) this.byExchange.set(exchange, login)
  }

  setHandle(login: PendingLogin, handle: string): void {
    login.handle = handle
    this.byHandle.set(handle, login)
  }

  remove(login: PendingLogin): void {
    this.setExchange(login, undefined)
    this.byId.delete(login.id)
    if (login.handle !== undefined) this.byHandle.delete(login.handle)
    const neighbours = this.byAddress.get(login.addressKey)
    neighbours?.delete(login)
    if (neighbours?.size === 0) this.byAddress.delete(login.addressKey)
  }
}
