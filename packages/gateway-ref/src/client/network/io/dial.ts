import { IpAddress } from '@twinbore/core/address'
import { drive } from '@twinbore/core/io'
import { FlowDuplex, flowError, type StackHost } from '@twinbore/tun/io'
import { HappyEyeballs, type HappyEyeballsOutput } from '../happy-eyeballs.ts'
import { DialAttempt } from './dial-attempt.ts'
import type { Resolver } from './resolver.ts'

/** What `connect` of a tunnel takes. */
export interface DialOptions {
  /** A name, looked up through the tunnel, or an address. */
  readonly host: string
  readonly port: number
  /** Only addresses of this family. @defaultValue both; the first connection wins (RFC 8305) */
  readonly family?: 4 | 6
  /** Whether writing goes on after the peer's end. @defaultValue false, as of `net.connect` */
  readonly allowHalfOpen?: boolean
  /** How long looking up and connecting may take together, in milliseconds. @defaultValue 30_000 */
  readonly timeoutMs?: number
  /** Destroys the connection, at any time. */
  readonly signal?: AbortSignal
}

export interface DialHands {
  readonly host: StackHost
  readonly resolver: Resolver
  /** Families that the tunnel has an address of. */
  readonly families: readonly (4 | 6)[]
}

export const defaultDialTimeoutMs = 30_000

/** Connects to a host through a stack: the duplex is there at once, and emits `connect` or `error`. */
export function dial({ host, resolver, families }: DialHands, options: DialOptions): FlowDuplex {
  const { port, timeoutMs = defaultDialTimeoutMs, signal } = options
  const duplex = new FlowDuplex(host, { allowHalfOpen: options.allowHalfOpen ?? false })
  if (duplex.destroyed) return duplex
  const literal = IpAddress.parse(options.host)
  const wanted = (literal ? [literal.family] : ([6, 4] as const)).filter(
    (family): family is 4 | 6 => families.includes(family) && (options.family ?? family) === family,
  )
  if (wanted.length === 0) {
    duplex.destroy(flowError('ENETUNREACH', 'connect', literal && { address: literal.toString(), port }))
    return duplex
  }
  const machine = new HappyEyeballs(wanted)
  const attempts = new Map<number, DialAttempt>()
  /** Of several reasons the first is told: it is about the address that comes first. */
  let failedAttempt: Error | undefined
  let failedLookup: NodeJS.ErrnoException | undefined
  const onOutput = (output: HappyEyeballsOutput) => {
    switch (output.type) {
      case 'attempt': {
        const attempt = new DialAttempt(host, output.address.toString(), port, end => {
          if (end) {
            failedAttempt ??= end
            attempts.delete(output.attempt)
            driver.input(now => machine.attemptFailed(output.attempt, now))
          } else driver.input(now => machine.attemptEstablished(output.attempt, now))
        })
        attempts.set(output.attempt, attempt)
        attempt.open()
        break
      }
      case 'abandon':
        attempts.get(output.attempt)?.abandon()
        break
      case 'connected': {
        const { flow } = attempts.get(output.attempt)!
        attempts.clear()
        finish()
        duplex.attach(flow, true)
        break
      }
      case 'failed':
        duplex.destroy(failedAttempt ?? failedLookup)
        break
    }
  }
  const driver = drive(machine, { onOutput, keepsProcessAlive: true })
  const looking = new AbortController()
  const timer = setTimeout(
    () => duplex.destroy(flowError('ETIMEDOUT', 'connect', literal && { address: literal.toString(), port })),
    timeoutMs,
  )
  const finish = () => {
    clearTimeout(timer)
    driver.stop()
    looking.abort()
    for (const attempt of attempts.values()) attempt.abandon()
    attempts.clear()
  }
  const onAbort = () => duplex.destroy(signal!.reason as Error)
  signal?.addEventListener('abort', onAbort)
  duplex.once('close', () => {
    signal?.removeEventListener('abort', onAbort)
    finish()
  })
  if (signal?.aborted) onAbort()
  else {
    for (const family of wanted) {
      resolver.resolve(options.host, family, looking.signal).then(
        found => {
          const addresses = found.map(({ address }) => IpAddress.of(address))
          driver.input(now => machine.addAddresses(family, addresses, now))
        },
        (error: NodeJS.ErrnoException) => {
          // That one family has no address says less than why the other has none.
          if (!failedLookup || failedLookup.code === 'ENODATA') failedLookup = error
          driver.input(now => machine.addAddresses(family, [], now))
        },
      )
    }
  }
  return duplex
}
