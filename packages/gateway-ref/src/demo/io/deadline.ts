import { GatewayError } from '../../errors.ts'

/**
 * Waits for something, but not for ever.
 *
 * @throws GatewayError `ERR_GATEWAY_UNREACHABLE` after `seconds`, `ERR_GATEWAY_ABORTED` when the signal fires
 */
export function within<Value>(
  promise: Promise<Value>,
  seconds: number,
  what: string,
  signal: AbortSignal,
): Promise<Value> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new GatewayError('ERR_GATEWAY_UNREACHABLE', `${what} was not there within ${seconds} s`)),
      seconds * 1000,
    )
    const onAbort = () => reject(new GatewayError('ERR_GATEWAY_ABORTED', 'stopped'))
    if (signal.aborted) onAbort()
    signal.addEventListener('abort', onAbort)
    promise.then(resolve, reject).finally(() => {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
    })
  })
}
