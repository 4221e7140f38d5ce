// What the thread of a data plane runs.
import { parentPort, workerData } from 'node:worker_threads'
import { runWorker } from './run-worker.ts'
import type { WorkerStart } from './worker-protocol.ts'

runWorker(workerData as WorkerStart, parentPort!)
