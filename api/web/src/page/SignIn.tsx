// Where tokens are made elsewhere, the user brings one.

import { token } from '../api/token';

export function SignIn() {
  return (
    <main className="sign-in">
      <h1>Copilot</h1>
      <p>This server does not make tokens for its page. Paste one of yours; it stays in this tab.</p>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          token.set(String(new FormData(event.currentTarget).get('token')));
        }}
      >
        <label>
          Token
          <input name="token" type="password" autoComplete="off" required autoFocus />
        </label>
        <button type="submit" className="main">
          Sign in
        </button>
      </form>
    </main>
  );
}
