import { constants } from 'node:os'
import type { FlowResetReason, IcmpErrorKind, NetStackEndpoint } from '../../netstack/outputs.ts'

/** The codes of errors of flows: those that sockets of Node.js have for the same. */
export type FlowErrorCode =
  | 'ECONNREFUSED'
  | 'ECONNRESET'
  | 'ECONNABORTED'
  | 'EHOSTUNREACH'
  | 'ENETUNREACH'
  | 'ETIMEDOUT'
  | 'EADDRNOTAVAIL'
  | 'EADDRINUSE'
  | 'EMSGSIZE'
  | 'ENOBUFS'

/** An error in the shape of Node's own: `code`, `errno`, `syscall`, and for a connect `address` and `port`. */
export function flowError(
  code: FlowErrorCode,
  syscall: string,
  remote?: NetStackEndpoint,
  hint?: string,
): NodeJS.ErrnoException {
  const where = remote && (remote.address.includes(':') ? `[${remote.address}]` : remote.address)
  const text = [syscall, code, where && `${where}:${remote.port}`].filter(Boolean).join(' ')
  const errno = -(constants.errno as Readonly<Record<string, number>>)[code]!
  return Object.assign(new Error(hint ? `${text}: ${hint}` : text), { code, errno, syscall, ...remote })
}

/** What an ICMP error means to an attempt to connect, in the way of Linux. */
export function codeOfIcmpError(kind: IcmpErrorKind): FlowErrorCode {
  switch (kind) {
    case 'port-unreachable':
    case 'protocol-unreachable':
      return 'ECONNREFUSED'
    case 'net-unreachable':
      return 'ENETUNREACH'
    default:
      return 'EHOSTUNREACH'
  }
}

/** What the end of a connection before its time means. */
export function flowErrorCode(reason: FlowResetReason, icmp: IcmpErrorKind | undefined): FlowErrorCode {
  switch (reason) {
    case 'peer':
      return 'ECONNRESET'
    case 'refused':
      return 'ECONNREFUSED'
    case 'timed-out':
    case 'idle':
      return 'ETIMEDOUT'
    case 'unreachable':
      return icmp ? codeOfIcmpError(icmp) : 'EHOSTUNREACH'
    case 'local':
    case 'source-removed':
      return 'ECONNABORTED'
  }
}
