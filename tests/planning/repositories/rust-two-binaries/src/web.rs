fn main() {
    let port = std::env::var("PORT").unwrap();
    println!("{port}");
}
