import { ProtocolError } from '@twinbore/core/runtime'
import type { ConfigProblem } from './config/config-problem.ts'

/** Why something of the gateway, of the client or of the program failed. */
export type GatewayErrorCode =
  /** The configuration has mistakes; `problems` lists every one. */
  | 'ERR_GATEWAY_CONFIGURATION'
  /** A certificate, key or PKCS#12 file can't be used. */
  | 'ERR_GATEWAY_CERTIFICATE'
  /** A policy decides otherwise than the cases of its test say. */
  | 'ERR_GATEWAY_POLICY_TEST'
  /** The users file can't be read, written, or holds mistakes. */
  | 'ERR_GATEWAY_USERS_FILE'
  /** The host lacks what the configuration needs (a right, a device, a program, a free port). */
  | 'ERR_GATEWAY_HOST'
  /** The gateway can't be reached, or isn't the one that was asked for. */
  | 'ERR_GATEWAY_UNREACHABLE'
  /** The operation was stopped by its caller. */
  | 'ERR_GATEWAY_ABORTED'

/** A failure of the gateway, the client or the program. Secrets never appear in its message. */
export class GatewayError extends ProtocolError<GatewayErrorCode> {
  override readonly name = 'GatewayError'
  /** Every mistake found, for `ERR_GATEWAY_CONFIGURATION`; empty otherwise. */
  readonly problems: readonly ConfigProblem[]

  constructor(
    code: GatewayErrorCode,
    message: string,
    options?: ErrorOptions & { readonly problems?: readonly ConfigProblem[] },
  ) {
    super(code, message, options)
    this.problems = options?.problems ?? []
  }
}
