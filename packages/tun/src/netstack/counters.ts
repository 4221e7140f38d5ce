import { DROP_REASON_COUNT, dropReasonName } from '@twinbore/core/packet'

/** What a `NetStack` counts since its creation. A packet that is dropped is counted here by its cause and in the batch by its reason. */
export interface NetStackCounters {
  /** Packets that `handlePackets` took, dropped ones included, and that `drain` gave; those of super-packets each for itself. */
  packetsIn: number
  packetsOut: number
  flowsRequested: number
  flowsOpened: number
  flowsRefused: number
  /** New flows that were not admitted: the source's cap or the cap of all flows, of dials, of the rate, of sources. */
  flowLimitHits: number
  dialLimitHits: number
  newFlowRateHits: number
  sourceLimitHits: number
  /** `openTcp` and `bindUdp` that found no free port. */
  portsExhausted: number
  requestsTimedOut: number
  udpFlowsExpired: number
  /** Connections that left TIME-WAIT early for others, and those that a new SYN took the place of. */
  timeWaitEvicted: number
  timeWaitReused: number
  /** Datagrams to the tunnel that found their flow's queue or the memory full, and those too long for a batch's slots. */
  datagramsDropped: number
  /** Datagrams from the tunnel that came while enough others waited for `accept`. */
  heldDatagramsDropped: number
  resetsSent: number
  errorsSent: number
  /** Resets and ICMP errors that a rate limit held back. */
  errorsSuppressed: number
  /** Answers that found `maxAnswersPerSource` others waiting. */
  answersDropped: number
  errorsReceived: number
  /** ICMP errors about no flow of ours, or in somebody else's name. */
  errorsIgnored: number
  echoRequestsSuppressed: number
  reassembled: number
  reassemblyTimeouts: number
  /** Datagrams that were forgotten for newer ones. */
  reassemblyEvictions: number
  /** Datagrams that were refused because their pieces overlap, disagree about the end, or are too many. */
  reassemblyRefusals: number
}

export function newCounters(): NetStackCounters {
  return {
    packetsIn: 0,
    packetsOut: 0,
    flowsRequested: 0,
    flowsOpened: 0,
    flowsRefused: 0,
    flowLimitHits: 0,
    dialLimitHits: 0,
    newFlowRateHits: 0,
    sourceLimitHits: 0,
    portsExhausted: 0,
    requestsTimedOut: 0,
    udpFlowsExpired: 0,
    timeWaitEvicted: 0,
    timeWaitReused: 0,
    datagramsDropped: 0,
    heldDatagramsDropped: 0,
    resetsSent: 0,
    errorsSent: 0,
    errorsSuppressed: 0,
    answersDropped: 0,
    errorsReceived: 0,
    errorsIgnored: 0,
    echoRequestsSuppressed: 0,
    reassembled: 0,
    reassemblyTimeouts: 0,
    reassemblyEvictions: 0,
    reassemblyRefusals: 0,
  }
}

/** `NetStack.stats()`: counters, and what there is now. */
export interface NetStackStats extends Readonly<NetStackCounters> {
  readonly tcpFlows: number
  readonly udpFlows: number
  readonly timeWait: number
  /** Requests that wait for `accept` or `refuse`, TCP only. */
  readonly dials: number
  readonly sources: number
  /** Bytes in TCP buffers and datagram queues. */
  readonly bufferBytes: number
  readonly reassemblies: number
  readonly reassemblyBytes: number
  /** Packets that `handlePackets` dropped, by the name of the reason; reasons that never came are left out. */
  readonly drops: Readonly<Record<string, number>>
}

/** Drops by reason. */
export class DropCounters {
  private readonly values: Float64Array = new Float64Array(DROP_REASON_COUNT)

  add(reason: number, packets: number): void {
    this.values[reason] = this.values[reason]! + packets
  }

  snapshot(): Record<string, number> {
    const drops: Record<string, number> = {}
    this.values.forEach((value, reason) => {
      if (value > 0) drops[dropReasonName(reason)] = value
    })
    return drops
  }
}
