import type { Milliseconds } from '@twinbore/core/runtime'
import type { EndpointTable } from '@twinbore/tun'

/** Endpoints that are known at once, and the part of the socket's table that they may hold. */
const MOST_ENDPOINTS = 4096
const TABLE_PART = 4
/** What was not asked for so long is forgotten: a client that lives says something more often. */
const IDLE_MS = 120_000

interface Place {
  worker: number
  usedAt: Milliseconds
}

/**
 * Which other worker has the association of a client whose datagrams arrive here. An entry that is idle for two minutes is not
 * found any more; when there is no room, the one that was set first goes, and is asked for anew.
 *
 * Memory: some 100 bytes for each of at most 4096 endpoints, which it retains.
 */
export class EndpointPlaces {
  private readonly endpoints: EndpointTable
  private readonly capacity: number
  private readonly places = new Map<number, Place>()

  constructor(endpoints: EndpointTable) {
    this.endpoints = endpoints
    this.capacity = Math.max(1, Math.min(MOST_ENDPOINTS, Math.floor(endpoints.capacity / TABLE_PART)))
  }

  get size(): number {
    return this.places.size
  }

  /** The worker that an endpoint's datagrams are for, or -1. */
  find(endpoint: number, now: Milliseconds): number {
    const place = this.places.get(endpoint)
    if (place === undefined) return -1
    if (now - place.usedAt > IDLE_MS) {
      this.forget(endpoint)
      return -1
    }
    place.usedAt = now
    return place.worker
  }

  set(endpoint: number, worker: number, now: Milliseconds): void {
    const place = this.places.get(endpoint)
    if (place !== undefined) {
      place.worker = worker
      place.usedAt = now
      return
    }
    if (this.places.size >= this.capacity) {
      const [first] = this.places.keys()
      this.forget(first!)
    }
    this.endpoints.retain(endpoint)
    this.places.set(endpoint, { worker, usedAt: now })
  }

  /** The worker has nobody at an endpoint any more. What is another one's by now stays. */
  release(endpoint: number, worker: number): void {
    if (this.places.get(endpoint)?.worker === worker) this.forget(endpoint)
  }

  forget(endpoint: number): void {
    if (this.places.delete(endpoint)) this.endpoints.release(endpoint)
  }
}
