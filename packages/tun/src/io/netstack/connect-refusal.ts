import type { RefuseReason } from '../../netstack/outputs.ts'

/**
 * What the sender inside is told when the system refused to connect, or to send a datagram, with this error. What the system
 * can't tell apart isn't either: 3/13 from a router is `EHOSTUNREACH` there. A lack of ours (ports, descriptors, memory) is
 * no refusal of the destination and never a reset: the soft error that a client tries again after (RFC 6888 REQ-11).
 */
export function refusalOf(code: string | undefined): RefuseReason {
  return (code !== undefined && reasons.get(code)) || 'host-unreachable'
}

const reasons: ReadonlyMap<string, RefuseReason> = new Map(
  Object.entries<RefuseReason>({
    ECONNREFUSED: 'reset',
    // The destination answered the SYN with a reset after it had accepted it.
    ECONNRESET: 'reset',
    EHOSTUNREACH: 'host-unreachable',
    EHOSTDOWN: 'host-unreachable',
    ENETUNREACH: 'net-unreachable',
    ENETDOWN: 'net-unreachable',
    // The host has no address of the family.
    EAFNOSUPPORT: 'net-unreachable',
    ENOPROTOOPT: 'protocol-unreachable',
    EPROTONOSUPPORT: 'protocol-unreachable',
    EACCES: 'admin-prohibited',
    EPERM: 'admin-prohibited',
    ETIMEDOUT: 'host-unreachable',
    EADDRNOTAVAIL: 'host-unreachable',
    EADDRINUSE: 'host-unreachable',
    EMFILE: 'host-unreachable',
    ENFILE: 'host-unreachable',
    ENOBUFS: 'host-unreachable',
    ENOMEM: 'host-unreachable',
  }),
)
