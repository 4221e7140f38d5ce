// The hands of core.

export type { TlsAead, TlsAeadMaker, TlsAeadName, TlsCrypto, TlsHashName } from '../tls/tls-crypto.ts'
export { ControlClient } from './control-client.ts'
export type {
  ConnectOptions,
  ControlClientOptions,
  LoginCredentials,
  LoginResult,
  TunnelConnection,
} from './control-client-types.ts'
export {
  ControlListener,
  type ControlListenerCounter,
  controlListenerCounters,
  defaultControlListenerLimits,
} from './control-listener.ts'
export type {
  ControlListenerEvents,
  ControlListenerLimits,
  ControlListenerOptions,
  EstablishedStream,
  LoginContext,
  SessionGrant,
  TunnelAttempt,
} from './control-listener-types.ts'
export { type Driver, drive, type Hands } from './driver.ts'
export { QueueBudget } from './frame-queue.ts'
export { nodeTlsCrypto } from './node-tls-crypto.ts'
export {
  StreamChannel,
  type StreamChannelHandlers,
  type StreamChannelOptions,
  type StreamChannelStats,
} from './stream-channel.ts'
export { systemClock } from './system-clock.ts'
export { systemRandom } from './system-random.ts'
export { certificatePin } from './tls-dial.ts'
