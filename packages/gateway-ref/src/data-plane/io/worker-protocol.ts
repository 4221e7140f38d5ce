import type { TranslatorMemory } from '@twinbore/pat'
import type { DatagramNotice } from '@twinbore/tun'
import type { DataPlaneConfig } from '../../config/gateway-config.ts'
import type { DeviceHandover } from '../../egress/egress.ts'
import type { PlaneSettings, PlaneStats } from '../engine.ts'
import type { PlaneEvent } from '../events.ts'
import type { MeshMemory } from '../mesh/worker-mesh.ts'

/** What a worker is started with: plain values, descriptors and shared memory. */
export interface WorkerStart {
  readonly settings: PlaneSettings
  readonly device: DeviceHandover
  /** The descriptor of the UDP socket. */
  readonly socket: number | undefined
  /** Whether it sends trains of equal datagrams in one piece. */
  readonly gso: boolean
  readonly records: DataPlaneConfig['records']
  readonly shared: WorkerMemory
  /** When it is one of several. */
  readonly mesh?: WorkerPlace | undefined
  /** Eventfds: wakes the worker; wakes the main thread for packets of stream channels. */
  readonly wake: number
  readonly notify: number
  /** `process.hrtime` at the main thread's time 0, in milliseconds: both threads tell time alike. */
  readonly clockOrigin: number
}

/** One of several workers. */
export interface WorkerPlace {
  readonly memory: MeshMemory
  readonly self: number
  /** The eventfds that wake the workers, by their numbers. */
  readonly wakes: readonly number[]
}

/** What main thread and worker share, and what outlives a worker. */
export interface WorkerMemory {
  /** Traffic, `trafficCells` float64 numbers. */
  readonly totals: SharedArrayBuffer
  /** Sequence numbers of associations, `sequenceCells` float64 numbers. */
  readonly sequences: SharedArrayBuffer
  /** The translator's, when there is one. */
  readonly translations: TranslatorMemory | undefined
  /** `StatusWord`s, int32. */
  readonly status: SharedArrayBuffer
  /** A `PacketRing` each: packets from stream channels, and to them. */
  readonly fromStreams: SharedArrayBuffer
  readonly toStreams: SharedArrayBuffer
}

export const StatusWord = {
  /** Counts the turns of the worker's loop: stands still when it hangs. */
  heartbeat: 0,
  /** 1 while the worker waits, or is about to, and has to be woken. */
  waits: 1,
  /** Counts messages that were posted, each a list of commands. */
  posted: 2,
  /** Counts those that were carried out. */
  taken: 3,
  /** The system's number of the worker's thread; 0 where that does not tell. */
  thread: 4,
} as const
export const STATUS_WORDS = 5

/** What a worker posts. */
export interface WorkerReport {
  readonly events: readonly PlaneEvent[]
  readonly stats?: PlaneStats
  /** What its UDP socket has to say. */
  readonly notice?: DatagramNotice
  /** The device is gone: another worker would find it so too. Why. */
  readonly lost?: string
}
