// Packets as bytes in place: the batch, and why a slot is dropped.
export { DROP_REASON_COUNT, DropReason, dropReasonName } from './drop-reason.ts'
export { PacketBatch, type PacketBatchOptions, Verdict } from './packet-batch.ts'
