// What every machine leans on: the contract, time, chance, invariants, counters.
export { assert, InvariantError, unreachable } from './assert.ts'
export { Counters } from './counters.ts'
export { DeadlineQueue } from './deadline-queue.ts'
export { earliest, type Machine, OutputQueue } from './machine.ts'
export { ProtocolError } from './protocol-error.ts'
export { type Random, randomBelow, seededRandom } from './random.ts'
export { type Clock, type Milliseconds, minutes, seconds } from './time.ts'
