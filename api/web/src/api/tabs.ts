// The tabs of this browser tell each other that something has changed, so that none of them need ask often.

const channel = new BroadcastChannel('copilot');

export const tellTabs = () => channel.postMessage('changed');

export function whenTold(act: () => void) {
  channel.addEventListener('message', act);
  return () => channel.removeEventListener('message', act);
}
