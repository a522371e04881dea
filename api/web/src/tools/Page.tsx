// A page that was read: its beginning.

import { Link } from './Link';

interface Props {
  title: string;
  url: string;
  content: string;
}

export function Page({ title, url, content }: Props) {
  return (
    <>
      <p>
        <Link url={url}>{url}</Link> <span className="faint">{title}</span>
      </p>
      <pre className="output" tabIndex={0}>
        {content}
      </pre>
    </>
  );
}
