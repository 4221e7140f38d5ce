import type { PacketBatch } from '@twinbore/core/packet'
import type { TcpSegment } from './segment.ts'

/** Answers a segment of no connection with RST (RFC 9293 §3.5.2). Returns whether one was written: never for RST. */
export declare function writeResetFor(batch: PacketBatch, segment: TcpSegment): boolean
