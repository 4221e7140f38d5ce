import { equalBytes } from '../crypto/constant-time.ts'
import type { CryptoProvider } from '../crypto/crypto-provider.ts'
import type { Milliseconds, Random } from '../machine.ts'
import { ByteWriter } from './byte-writer.ts'
import type { ClientHello } from './messages/client-hello.ts'

export const COOKIE_BYTES = 20
const SECRET_BYTES = 32

/**
 * Cookies that prove an address and need no memory of it. RFC 6347 §4.2.1.
 *
 * A cookie is one byte that numbers a secret, then the first 19 bytes of HMAC-SHA-256, under that secret, of the endpoint
 * and of the fields that a client repeats unchanged. Secrets change every `lifetimeMs`; the last two are good, so a cookie
 * lives for one to two lifetimes.
 */
export class CookieJar {
  private readonly crypto: CryptoProvider
  private readonly random: Random
  private readonly lifetimeMs: Milliseconds
  private generation = 0
  private current: Uint8Array
  private previous: Uint8Array | undefined
  private changesAt: Milliseconds | undefined

  constructor(crypto: CryptoProvider, random: Random, lifetimeMs: Milliseconds) {
    this.crypto = crypto
    this.random = random
    this.lifetimeMs = lifetimeMs
    this.current = random.fill(new Uint8Array(SECRET_BYTES))
  }

  make(host: string, port: number, hello: ClientHello, now: Milliseconds): Uint8Array {
    this.rotate(now)
    return this.cookie(this.generation, this.current, host, port, hello)
  }

  /** Whether the cookie in a hello was made for this endpoint and these fields, not too long ago. */
  accepts(host: string, port: number, hello: ClientHello, now: Milliseconds): boolean {
    this.rotate(now)
    if (hello.cookie.length !== COOKIE_BYTES) return false
    const isCurrent = hello.cookie[0] === this.generation
    const secret = isCurrent ? this.current : this.previous
    if (secret === undefined || (!isCurrent && hello.cookie[0] !== ((this.generation + 255) & 0xff))) return false
    return equalBytes(hello.cookie, this.cookie(hello.cookie[0]!, secret, host, port, hello))
  }

  private rotate(now: Milliseconds): void {
    this.changesAt ??= now + this.lifetimeMs
    if (now < this.changesAt) return
    const isStale = now >= this.changesAt + this.lifetimeMs
    this.previous = isStale ? undefined : this.current
    this.current = this.random.fill(new Uint8Array(SECRET_BYTES))
    this.generation = (this.generation + 1) & 0xff
    this.changesAt = isStale ? now + this.lifetimeMs : this.changesAt + this.lifetimeMs
  }

  private cookie(generation: number, secret: Uint8Array, host: string, port: number, hello: ClientHello): Uint8Array {
    const suites = new ByteWriter()
    for (const id of hello.cipherSuites) suites.uint16(id)
    const covered = new ByteWriter()
      .vector16(new TextEncoder().encode(host))
      .vector8(new TextEncoder().encode(String(port)))
      .uint16(hello.version)
      .bytes(hello.random)
      .vector8(hello.sessionId)
      .vector16(suites.finish())
      .vector8(hello.compressionMethods)
      .finish()
    const cookie = new Uint8Array(COOKIE_BYTES)
    cookie[0] = generation
    cookie.set(this.crypto.hmac('sha256', secret, covered).subarray(0, COOKIE_BYTES - 1), 1)
    return cookie
  }
}
