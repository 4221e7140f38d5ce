import type { EventEmitter } from 'node:events'
import type { ReadStream } from 'node:tty'

/** What a command may touch of its process. Tests bring their own. */
export interface ProgramContext {
  readonly stdin: NodeJS.ReadableStream &
    Partial<Pick<ReadStream, 'isTTY' | 'setRawMode' | 'unref' | 'readableEnded' | 'destroyed'>>
  readonly stdout: { write(text: string): unknown }
  readonly stderr: { write(text: string): unknown; readonly isTTY?: boolean | undefined }
  readonly environment: Readonly<Record<string, string | undefined>>
  /** Emits SIGHUP, SIGINT, SIGTERM. */
  readonly signals: Pick<EventEmitter, 'on' | 'off'>
}

/** The context of the real process. */
export function processContext(): ProgramContext {
  const { stdin, stdout, stderr, env } = process
  return { stdin, stdout, stderr, environment: env, signals: process }
}
