// What a translator tells the outside: outputs of `poll()` and the numbers of `stats()`.

/** The protocols that are translated. `icmp` stands for echo of either family, its identifier for a port. */
export type PatProtocol = 'tcp' | 'udp' | 'icmp'

/** An address and a port (or echo identifier). */
export interface Endpoint {
  readonly address: string
  readonly port: number
}

/**
 * One line of the attribution log (RFC 6888 §4): who had which outside endpoint, and when. Destinations are left out on
 * purpose (RFC 6888 REQ-12).
 */
export interface MappingRecord {
  readonly protocol: PatProtocol
  readonly inside: Endpoint
  readonly outside: Endpoint
  /** Time of the event, on the clock that the machine is given. */
  readonly at: number
}

/** A packet that the translator made or held back: an ICMP error, a released fragment, a hairpinned packet. */
export interface PacketOutput {
  readonly type: 'packet'
  /** `inbound`: to a client, by its inside destination address. `outbound`: to the outside network. */
  readonly direction: 'inbound' | 'outbound'
  /** A whole IP packet; the receiver may keep and change it. */
  readonly bytes: Uint8Array
}

/** A mapping came to be. Only with `logMappings`. */
export interface MappingCreatedOutput extends MappingRecord {
  readonly type: 'mapping-created'
}

/** A mapping is gone: it was idle for its time, its last TCP session closed, or its inside address was removed. Only with `logMappings`. */
export interface MappingExpiredOutput extends MappingRecord {
  readonly type: 'mapping-expired'
  readonly reason: 'idle' | 'removed'
}

/** New mappings were refused for want of ports or table space. At most once per `exhaustionReportIntervalMs` and cause. */
export interface PortsExhaustedOutput {
  readonly type: 'ports-exhausted'
  /** Which resource: the ports of `outsideAddress`, or the bounded tables. */
  readonly resource: 'ports' | 'mappings' | 'sessions'
  readonly protocol: PatProtocol
  readonly outsideAddress: string
  /** How many packets were refused for this cause since the last report. */
  readonly refused: number
  readonly at: number
}

export type PatOutput = PacketOutput | MappingCreatedOutput | MappingExpiredOutput | PortsExhaustedOutput

/** What a translator has taken over from the one before it. */
export interface RestoreStats {
  readonly mappings: number
  readonly sessions: number
  /** Sessions that were not taken over. */
  readonly dropped: {
    /** Not written to their end, or only begun. */
    readonly broken: number
    /** Not what the options allow: other addresses, ports out of the range, other filters, or no room. */
    readonly refused: number
    /** Same endpoints as another session's, of which the first is kept. */
    readonly conflicting: number
  }
}

/** What `Translator.stats()` returns: a snapshot, all counters since creation. */
export interface PatStats {
  /** Live mappings. */
  readonly mappings: Readonly<Record<PatProtocol, number>>
  /** Live sessions: remote ends that mappings talk to (see `filteringBehavior`). */
  readonly sessions: number
  /** Inside addresses that hold a mapping. */
  readonly insideAddresses: number
  /** Ports taken out of service until their quarantine ends. */
  readonly quarantinedPorts: Readonly<Record<PatProtocol, number>>
  /** Packets translated. */
  readonly translated: { readonly outbound: number; readonly inbound: number }
  /** Packets dropped, by the name of their `DropReason`; only reasons that occurred. */
  readonly drops: Readonly<Record<string, number>>
  /** Mappings created and removed. */
  readonly mappingsCreated: number
  readonly mappingsRemoved: number
  /** ICMP errors made, and those that a rate limit suppressed. */
  readonly icmpErrorsSent: number
  readonly icmpErrorsSuppressed: number
  /** Packets between clients through an outside address: refused by client isolation, or turned around. */
  readonly hairpinRefused: number
  readonly hairpinned: number
  /** TCP segments outside the tracked window: forwarded, but without effect on the session. */
  readonly outOfWindowSegments: number
  /** Datagrams being followed or waiting for their first fragment, and the bytes that wait. */
  readonly fragments: { readonly datagrams: number; readonly heldBytes: number; readonly overlaps: number }
  /** Outputs discarded because nobody took them with `poll()`. */
  readonly outputsDiscarded: number
  /** What was taken over from a predecessor; absent without `KeptState`. */
  readonly restored?: RestoreStats
  /** Bytes of the tables, as allocated now, those of `KeptState` among them. */
  readonly memoryBytes: number
}
