/** Every cap of a `NetStack`. A *source* is one inside address: a client of the gateway, or an own address in client mode. */
export interface NetStackLimits {
  /** Sources known at once; the idle one that was used longest ago makes room, and without one the packet is dropped. @defaultValue 8192 */
  readonly maxSources: number
  /** Flows of all sources, TIME-WAIT included. At the limit as for `maxTcpFlowsPerSource`. @defaultValue 65_536 */
  readonly maxFlows: number
  /**
   * TCP connections of one source, without those in TIME-WAIT. At the limit a SYN is answered with "host unreachable"
   * (RFC 6888 REQ-11; no live flow is evicted) and `openTcp` returns -1. @defaultValue 1024
   */
  readonly maxTcpFlowsPerSource: number
  /** UDP flows (inside endpoints) of one source. At the limit as for TCP. @defaultValue 512 */
  readonly maxUdpFlowsPerSource: number
  /** TCP flows of one source that wait for `accept` or `refuse`. A SYN beyond is dropped silently; its sender tries again. @defaultValue 64 */
  readonly maxDialsPerSource: number
  /** The same for all sources. @defaultValue 4096 */
  readonly maxDials: number
  /** New flows of one source, TCP and UDP, that its packets may open in a second. Beyond, the packet is dropped silently. @defaultValue 200 */
  readonly newFlowsPerSecondPerSource: number
  /** How many of them at once after a pause. @defaultValue 400 */
  readonly newFlowBurstPerSource: number
  /** Connections in TIME-WAIT of all sources; the oldest one makes room. @defaultValue 8192 */
  readonly maxTimeWait: number
  /**
   * Bytes that the TCP buffers and datagram queues of one source may hold. Near the limit TCP windows stop growing; at it
   * `write` takes nothing and datagrams are dropped, but a connection always gets 16 KiB each way. @defaultValue 64 MiB
   */
  readonly maxBufferBytesPerSource: number
  /** The same for all sources. @defaultValue 512 MiB */
  readonly maxBufferBytes: number
  /** Bytes of datagrams of one UDP flow that wait for `drain`; the next one is dropped and `sendDatagram` returns false. @defaultValue 256 KiB */
  readonly maxQueuedBytesPerUdpFlow: number
  /** Datagrams of one UDP flow that wait for `accept`; the next one is dropped. @defaultValue 8 */
  readonly maxHeldDatagrams: number
  /** Resets, ICMP errors and echo replies of one source that wait for `drain`; the next one is dropped. @defaultValue 128 */
  readonly maxAnswersPerSource: number
  /** ICMP errors and resets without a connection that one source is sent in a second (RFC 4443 §2.4 (f)). @defaultValue 50 */
  readonly errorsPerSecondPerSource: number
  /** The same for all sources. @defaultValue 1000 */
  readonly errorsPerSecond: number
  /** Echo requests of one source that are surfaced or answered in a second; the others are dropped. @defaultValue 50 */
  readonly echoRequestsPerSecondPerSource: number
  /** Datagrams of one source that are being put together; its oldest one makes room. At least 1. @defaultValue 64 */
  readonly maxReassembliesPerSource: number
  /** Bytes of fragments of all sources, bookkeeping included; the oldest datagrams make room. @defaultValue 4 MiB */
  readonly maxReassemblyBytes: number
  /** Fragments of one datagram; with one more the datagram is refused. @defaultValue 45 */
  readonly maxFragmentsPerDatagram: number
}

export const defaultNetStackLimits: NetStackLimits = {
  maxSources: 8192,
  maxFlows: 65_536,
  maxTcpFlowsPerSource: 1024,
  maxUdpFlowsPerSource: 512,
  maxDialsPerSource: 64,
  maxDials: 4096,
  newFlowsPerSecondPerSource: 200,
  newFlowBurstPerSource: 400,
  maxTimeWait: 8192,
  maxBufferBytesPerSource: 64 * 1024 * 1024,
  maxBufferBytes: 512 * 1024 * 1024,
  maxQueuedBytesPerUdpFlow: 256 * 1024,
  maxHeldDatagrams: 8,
  maxAnswersPerSource: 128,
  errorsPerSecondPerSource: 50,
  errorsPerSecond: 1000,
  echoRequestsPerSecondPerSource: 50,
  maxReassembliesPerSource: 64,
  maxReassemblyBytes: 4 * 1024 * 1024,
  maxFragmentsPerDatagram: 45,
}
