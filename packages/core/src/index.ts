// The protocol surface of core, in reading order. Runtime, packets, addresses, the test kit and the hands have subpaths of their own.
export type { ChannelTimers, DatagramOffer, RekeyMethod, TunnelParameters } from './protocol/tunnel-parameters.ts'
