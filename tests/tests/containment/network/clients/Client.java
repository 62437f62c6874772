// Names and ports by Java's URL, HttpClient and channels.
import java.io.IOException;
import java.net.ConnectException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.NetworkInterface;
import java.net.URI;
import java.net.UnknownHostException;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.channels.SocketChannel;

public class Client {
    interface Attempt {
        void make() throws Exception;
    }

    static void fails(Attempt attempt, Class<? extends IOException> as) {
        long begun = System.nanoTime();
        try {
            attempt.make();
            System.out.println("connected");
        } catch (Exception exception) {
            System.out.println(as.isInstance(exception) + " " + (System.nanoTime() - begun < 1_000_000_000L));
        }
    }

    public static void main(String[] args) throws Exception {
        URI word = URI.create("http://one.example/word");
        try (var answer = word.toURL().openStream()) {
            System.out.println(new String(answer.readAllBytes()).strip());
        }
        var request = HttpRequest.newBuilder(word).build();
        var answer = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
        System.out.println(answer.body().strip());
        fails(() -> InetAddress.getByName("other.example"), UnknownHostException.class);
        fails(() -> SocketChannel.open(new InetSocketAddress("one.example", 81)), ConnectException.class);
        NetworkInterface.networkInterfaces().forEach(one -> System.out.println(one.getName()));
        System.exit(0);
    }
}
