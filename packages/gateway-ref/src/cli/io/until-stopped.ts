import type { Logger } from '../../log/logger.ts'
import type { ProgramContext } from './program-context.ts'

/** What the signals of a process act on. */
export interface Runnable {
  start(): Promise<unknown>
  stop(options?: { readonly immediately?: boolean }): Promise<void>
  readonly stopped: Promise<Error | undefined>
}

/** What happens on the way. */
export interface RunHooks {
  /** Called once, when `start` has succeeded. */
  readonly ready: () => void
  /** Answers SIGHUP, one call after the other, from `ready` on. Without it SIGHUP stops, as the end of a terminal. */
  readonly hangup?: () => Promise<void>
  readonly log: Logger
}

/**
 * Runs something until it ends. SIGTERM and SIGINT stop it in good order, also while it starts; a second one stops it at
 * once.
 *
 * @throws what `start` or `stop` throws, or what the runnable ended with
 */
export async function untilStopped(runnable: Runnable, context: ProgramContext, hooks: RunHooks): Promise<void> {
  const { signals } = context
  let asked = 0
  let stopFailed: (error: Error) => void
  const stopFailure = new Promise<Error>(resolve => {
    stopFailed = resolve
  })
  const end = (signal: string) => {
    asked += 1
    hooks.log.info(asked === 1 ? 'stopping' : 'stopping at once', { signal })
    runnable.stop({ immediately: asked > 1 }).catch((error: Error) => stopFailed(error))
  }
  let begin: () => void
  let hangups = new Promise<void>(resolve => {
    begin = resolve
  })
  const { hangup } = hooks
  const onHangup = hangup
    ? () => {
        hangups = hangups.then(hangup)
      }
    : end
  signals.on('SIGTERM', end)
  signals.on('SIGINT', end)
  signals.on('SIGHUP', onHangup)
  try {
    try {
      await runnable.start()
    } catch (error) {
      // A start that a signal broke off is no failure.
      if (asked > 0) return
      throw error
    }
    if (asked === 0) hooks.ready()
    begin!()
    const failure = await Promise.race([runnable.stopped, stopFailure])
    if (failure) throw failure
  } finally {
    signals.off('SIGTERM', end)
    signals.off('SIGINT', end)
    signals.off('SIGHUP', onHangup)
  }
}
