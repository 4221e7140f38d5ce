import { createHmac } from 'node:crypto'
import type { HmacSha1 } from '../one-time-codes.ts'

/** HMAC-SHA-1 of OpenSSL. */
export const hmacSha1: HmacSha1 = (secret, message) => createHmac('sha1', secret).update(message).digest()
