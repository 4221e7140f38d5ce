import type { UserRate } from '../auth/authenticator.ts'
import type { SessionConfig } from '../config/gateway-config.ts'
import type { SessionRate } from '../data-plane/rate-limits.ts'

/** What a session of a user may carry. */
export function rateOf({ rate }: SessionConfig, own: UserRate = {}): SessionRate {
  const limit = (bits: number | undefined) => (bits === Number.POSITIVE_INFINITY ? undefined : bits)
  return { upload: limit(own.upload ?? rate.upload), download: limit(own.download ?? rate.download) }
}
